"""YAML files in which no key stands twice: PyYAML alone takes the last and says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]


def load_yaml(path: Path) -> Any:
    """Content of a file, read without running code.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is no YAML, or a key stands twice in a mapping.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'there is no sweep file {str(path)!r}; configs/sweeps/ holds those we ship.'
        )
    try:
        return yaml.load(path.read_text(encoding='utf-8'), _UniqueKeys)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise ValueError(f'{str(path)!r} is no YAML ({reason}).') from error


class _UniqueKeys(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: list[Any] = []

    def flatten_mapping(self, node: Any) -> None:
        """Check keys before those are added that a merge (<<) brings, which may be overridden."""
        if not any(node is one for one in self._checked):
            self._checked.append(node)
            _check_unique(node)
        super().flatten_mapping(node)


def _check_unique(node: Any) -> None:
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise yaml.constructor.ConstructorError(
            problem=f'{twice[0]!r} stands twice in one mapping', problem_mark=node.start_mark
        )
