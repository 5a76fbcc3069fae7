"""Arguments of version 0.1.0 that became ``trunk=dict(...)``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

# Old argument: option, and the option's value for the old value True.
MOVED: dict[str, tuple[str, Any]] = {
    'trunk_dtype': ('dtype', None),
    'fused_attention': ('attention', 'fused'),
    'piecewise_mlp': ('mlp', 'chunked'),
    'packed_weights': ('prepacked', True),
}
REMOVED = ('compiled_mlp',)  # slower than chunks in every measurement

LEGACY_ARGUMENTS = (*MOVED, *REMOVED)


def with_legacy(trunk: Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> Any:
    """Return ``trunk`` completed by arguments of version 0.1.0, with a warning for each.

    Raises:
        ValueError: An argument that no version has.
    """
    options = dict(trunk) if isinstance(trunk, Mapping) else {}
    for name, value in arguments.items():
        if name not in MOVED and name not in REMOVED:
            raise ValueError(f'{name}={value!r} is invalid: a wrapper has no such argument.')
        if name in REMOVED:
            warnings.warn(f'{name} was removed; use trunk=dict(mlp="chunked").', stacklevel=3)
            continue
        option, when_true = MOVED[name]
        if when_true is None or value:
            options[option] = value if when_true is None else when_true
        warnings.warn(f'{name}={value!r} is now trunk=dict({option}=...).', stacklevel=3)
    return options if arguments else trunk
