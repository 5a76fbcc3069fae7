"""Reading the config that a checkpoint carries, as data that is never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

REMEDY = 'give the config of the training yourself (--config).'
# Registries would also build any callable that a dotted path names, such as os.system.
HARMLESS_TYPE = re.compile(r'(mmcv|mmdet|mmengine|mmpretrain|mmqadapter|mmseg)\.[A-Z]\w*|\w+')


def stored_config(checkpoint: dict[str, Any]) -> Config:
    """Return the config in the ``meta`` of an mmengine checkpoint.

    mmengine stores it as Python source; here that text is parsed, not run.

    Raises:
        ValueError: There is none, it has more than plain values, it imports other packages, or its
            model names a type outside the OpenMMLab packages.
    """
    text = checkpoint.get('meta', {}).get('cfg')
    if not isinstance(text, str):
        raise ValueError(f'the checkpoint carries no config; {REMEDY}')
    cfg = Config(parse_config(text))
    imports = (cfg.get('custom_imports') or {}).get('imports') or ()
    foreign = set([imports] if isinstance(imports, str) else imports) - {'mmqadapter'}
    if foreign:
        raise ValueError(f"the checkpoint's config imports {sorted(foreign)}; {REMEDY}")
    for kind in _types(cfg.get('model')):
        if not (isinstance(kind, str) and HARMLESS_TYPE.fullmatch(kind)):
            raise ValueError(
                f"the checkpoint's config builds {kind!r}; expected a registered name or a class "
                f'of the OpenMMLab packages; {REMEDY}'
            )
    return cfg


def parse_config(text: str) -> dict[str, Any]:
    """Return the values of ``name = value`` lines made of literals and ``dict(...)`` calls.

    Raises:
        ValueError: ``text`` has anything else.
    """
    try:
        lines = _DictCalls().visit(ast.parse(text)).body
        return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    except (AttributeError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        raise ValueError(
            f"the checkpoint's config has more than plain values ({error}); {REMEDY}"
        ) from error


class _DictCalls(ast.NodeTransformer):
    """Transformer of ``dict({0: 1}, a=2)`` to ``{0: 1, 'a': 2}``, a literal for ``ast``."""

    def visit_Call(self, node: ast.Call) -> ast.expr:  # noqa: N802  # spelled so by ast
        """Return the dict literal for a ``dict`` call, and any other call as it is."""
        self.generic_visit(node)
        first = node.args[0] if node.args else ast.Dict([], [])
        plain = isinstance(node.func, ast.Name) and node.func.id == 'dict' and len(node.args) < 2
        named = all(keyword.arg is not None for keyword in node.keywords)
        if not (plain and named and isinstance(first, ast.Dict)):
            return node
        names = [ast.Constant(keyword.arg) for keyword in node.keywords]
        values = [keyword.value for keyword in node.keywords]
        return ast.Dict([*first.keys, *names], [*first.values, *values])


def _types(value: Any) -> Iterator[Any]:
    """Yield every ``type`` in a nested config."""
    if isinstance(value, dict):
        if 'type' in value:
            yield value['type']
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _types(item)
