"""Registries of the package: children of mmengine's, in the scope ``mmqadapter``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine import registry as root
from mmengine.registry import Registry

SCOPE = 'mmqadapter'

MODELS = Registry(
    'model',
    parent=root.MODELS,
    scope=SCOPE,
    locations=['mmqadapter.backbones', 'mmqadapter.adapters', 'mmqadapter.quant'],
)
HOOKS = Registry('hook', parent=root.HOOKS, scope=SCOPE, locations=['mmqadapter.hooks'])
FUNCTIONS = Registry(
    'function', parent=root.FUNCTIONS, scope=SCOPE, locations=['mmqadapter.backbones']
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    scope=SCOPE,
    locations=['mmqadapter.engine'],
)
DATASETS = Registry('dataset', parent=root.DATASETS, scope=SCOPE, locations=['mmqadapter.engine'])
DATA_SAMPLERS = Registry(
    'data sampler', parent=root.DATA_SAMPLERS, scope=SCOPE, locations=['mmqadapter.engine']
)


def build_own(cfg: dict, **defaults: Any) -> Any:
    """Build an adapter or quantiser in our scope, whatever ``default_scope`` is active.

    Raises:
        ValueError: ``cfg`` has no ``type``, names an unknown one, or has arguments it refuses.
    """
    require_config('adapter or quantizer', cfg)
    if 'type' not in cfg:
        raise ValueError(f'{dict(cfg)} has no `type`; name one, such as type="AdaptFormer".')
    kind = cfg['type']
    if isinstance(kind, str) and MODELS.get(kind) is None:
        known = ', '.join(sorted(MODELS.module_dict))
        raise ValueError(f'Unknown type {kind!r}; registered in {SCOPE}: {known}.')
    try:
        return MODELS.build(dict(cfg, _scope_=SCOPE), default_args=defaults)
    except TypeError as error:
        raise ValueError(f'{dict(cfg)} cannot be built: {error}') from error


def require_config(argument: str, value: Any) -> None:
    """Check that an argument is a config.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f'{argument}={value!r} is no config; give a dict, such as dict(type=...).')


def full_config(cfg: dict | None) -> dict | None:
    """``cfg`` with its type's defaults filled in, so that equal settings compare equal."""
    if cfg is None:
        return None
    kind = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    parameters = inspect.signature(kind).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {**defaults, **cfg, 'type': kind.__name__}


def config_of(base: type, argument: str, value: str | dict) -> dict:
    """Full config of a ``base`` given by its class name or by a config.

    Args:
        base: What ``value`` has to name a subclass of.
        argument: What messages call the value.
        value: Class name or config.

    Raises:
        ValueError: It names none.
    """
    config = {'type': value} if isinstance(value, str) else value
    require_config(argument, config)
    kind = config.get('type')
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(found, type) and issubclass(found, base)):
        kinds = {n: k for n, k in MODELS.module_dict.items() if isinstance(k, type)}
        known = sorted(name for name, kind in kinds.items() if issubclass(kind, base))
        raise ValueError(f'{argument}={value!r} is unknown; use one of {known}.')
    full = full_config(config)
    assert full is not None
    return full
