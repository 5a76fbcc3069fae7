"""Registries of the package: children of those of mmengine, in the scope ``mmqadapter``."""

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
    """Build an adapter or quantizer in our scope, whatever ``default_scope`` is active.

    Args:
        cfg: Config with a ``type``.
        **defaults: Arguments of the type that ``cfg`` may override.

    Raises:
        ValueError: ``cfg`` has no ``type``, an unknown one, or arguments that the type refuses.
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
    """Check that the value of an argument is a config.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, Mapping):
        raise ValueError(
            f'{argument}={value!r} is not a config: give a dict, such as dict(type=...).'
        )


def full_config(cfg: dict | None) -> dict | None:
    """Return ``cfg`` with the defaults of its type filled in, so that equal settings are equal."""
    if cfg is None:
        return None
    kind = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    parameters = inspect.signature(kind).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {**defaults, **cfg, 'type': kind.__name__}


def config_of(base: type, argument: str, value: str | dict) -> dict:
    """Return the full config of a subclass of ``base`` from its class name or from a config.

    Args:
        base: Class of which ``value`` has to name a subclass.
        argument: Name of the value in messages.
        value: Class name or config.

    Raises:
        ValueError: ``value`` does not name a registered subclass of ``base``.
    """
    config = {'type': value} if isinstance(value, str) else value
    require_config(argument, config)
    kind = config.get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(cls, type) and issubclass(cls, base)):
        classes = {n: c for n, c in MODELS.module_dict.items() if isinstance(c, type)}
        known = sorted(name for name, cls in classes.items() if issubclass(cls, base))
        raise ValueError(f'{argument}={value!r} is unknown; use one of {known}.')
    full = full_config(config)
    assert full is not None
    return full
