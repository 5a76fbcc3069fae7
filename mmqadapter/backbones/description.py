"""Describe adapters in a few words, for logs and ``print(model)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmqadapter.adapters import is_float
from mmqadapter.registry import full_config


def describe_adapter(adapter: Mapping[str, Any], quantizer: Mapping[str, Any] | None) -> str:
    """Return type, settings and bits of an adapter config, such as ``LoRA(rank=4), 1 bit``."""
    bits = 32 if quantizer is None or is_float(dict(quantizer)) else quantizer['bits']
    return f'{describe_config(adapter)}, {bits} bit{"s" * (bits != 1)}'


def describe_config(config: Mapping[str, Any]) -> str:
    """Return a config as a call of its type, without arguments that have their defaults."""
    defaults = full_config({'type': config['type']}) or {}
    own = {k: v for k, v in config.items() if k != 'type' and (k, v) not in defaults.items()}
    required_first = sorted(own, key=defaults.__contains__)
    arguments = ', '.join(f'{name}={own[name]!r}' for name in required_first)
    kind = config['type']
    return f'{kind if isinstance(kind, str) else kind.__name__}({arguments})'
