"""Arguments of version 0.1.0 that became ``trunk=dict(...)``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

# Switches of 0.1.0: the option of today, and its value where the switch is off and on.
SWITCHES: dict[str, tuple[str, Any, Any]] = {
    'fused_attention': ('attention', 'stock', 'fused'),
    'piecewise_mlp': ('mlp', 'stock', 'chunked'),
    'packed_weights': ('prepacked', False, True),
}
DTYPE = 'trunk_dtype'
REMOVED = 'compiled_mlp'  # slower than chunks in every measurement
LEGACY_ARGUMENTS = (*SWITCHES, DTYPE, REMOVED)


def with_legacy(trunk: Any, arguments: Mapping[str, Any]) -> Any:
    """Return ``trunk`` with the options that arguments of version 0.1.0 stand for.

    Each such argument gives a warning that names its replacement, and overrides ``trunk``.

    Raises:
        ValueError: An argument that no version has, or a switch that is not a bool.
    """
    if not arguments or not (trunk is None or isinstance(trunk, Mapping)):
        return trunk
    options = dict(trunk or {})
    for name, value in arguments.items():
        replacement = _replacement(name, value)
        options.update(replacement)
        text = ', '.join(f'{option}={new!r}' for option, new in replacement.items())
        use = f'is now trunk=dict({text})' if text else 'was removed and has no effect'
        warnings.warn(f'{name}={value!r} {use}.', FutureWarning, stacklevel=4)
    return options


def without_legacy(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Return a wrapper's config with arguments of version 0.1.0 as options of ``trunk``.

    Raises:
        ValueError: A switch that is not a bool.
    """
    config = {name: value for name, value in backbone.items() if name not in LEGACY_ARGUMENTS}
    options: dict[str, Any] = {}
    for name in backbone.keys() & set(LEGACY_ARGUMENTS):
        options.update(_replacement(name, backbone[name]))
    trunk = config.get('trunk')
    return {**config, 'trunk': {**(trunk or {}), **options}} if options else config


def _replacement(name: str, value: Any) -> dict[str, Any]:
    if name == DTYPE:
        return {'dtype': value}
    if name not in LEGACY_ARGUMENTS:
        raise ValueError(f'{name}={value!r} is invalid: a wrapper has no such argument.')
    if not isinstance(value, bool):
        raise ValueError(
            f'{name}={value!r} is invalid: expected True or False; use trunk=dict(...).'
        )
    if name == REMOVED:
        return {}
    option, off, on = SWITCHES[name]
    return {option: on if value else off}
