"""Loading of YAML files that refuses duplicate keys, of which PyYAML silently takes the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]


def load_yaml(path: Path) -> Any:
    """Return the content of a YAML file; nothing in it is executed.

    Raises:
        ValueError: The file is not valid YAML, or a mapping in it has a duplicate key.
    """
    try:
        # noqa below: the loader is a SafeLoader.
        return yaml.load(path.read_text(encoding='utf-8'), _UniqueKeyLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise ValueError(f'{str(path)!r} is not valid YAML: {reason}.') from error


class _UniqueKeyLoader(yaml.SafeLoader):
    # ruamel.yaml's safe loader accepts duplicate keys in a mapping that also merges another (<<).
    def compose_mapping_node(self, anchor: str | None) -> Any:
        """Check the keys as written, before a merge (<<) adds keys that they may override."""
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.composer.ComposerError(
                    problem=f'duplicate key {key!r} in a mapping', problem_mark=node.start_mark
                )
        return node
