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
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper',
    parent=root.OPTIM_WRAPPERS,
    scope=SCOPE,
    locations=['mmqadapter.engine'],
)
DATASETS = Registry('dataset', parent=root.DATASETS, scope=SCOPE, locations=['mmqadapter.engine'])
DATA_SAMPLERS = Registry(
    'data sampler', parent=root.DATA_SAMPLERS, scope=SCOPE, locations=['mmqadapter.engine']
)


def build_own(argument: str, cfg: dict, **defaults: Any) -> Any:
    """Build an adapter, quantizer or the like in our scope, whatever ``default_scope`` is active.

    Args:
        argument: Name of ``cfg`` in messages, such as ``'adapter'``.
        cfg: Config with a ``type``.
        **defaults: Arguments of the type that ``cfg`` may override.

    Raises:
        ValueError: ``cfg`` has no ``type``, an unknown one, or arguments that the type refuses.
    """
    require_config(argument, cfg)
    if 'type' not in cfg:
        raise ValueError(
            f'{argument}={dict(cfg)} has no `type`; name one, such as type="AdaptFormer" or '
            'type="GaussianQuantizer".'
        )
    kind = cfg['type']
    if isinstance(kind, str) and MODELS.get(kind) is None:
        known = ', '.join(sorted(MODELS.module_dict))
        raise ValueError(f'Unknown type {kind!r}; registered in {SCOPE}: {known}.')
    _check_arguments(argument, cfg, defaults)
    try:
        return MODELS.build(dict(cfg, _scope_=SCOPE), default_args=defaults)
    except TypeError as error:
        raise ValueError(f'{argument}={dict(cfg)} cannot be built: {error}') from error


def _check_arguments(argument: str, cfg: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    kind = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if not isinstance(kind, type):
        return  # building reports it
    parameters = inspect.signature(kind).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    required = {name for name, p in parameters.items() if p.default is p.empty}
    missing = sorted(required - cfg.keys() - defaults.keys())
    unknown = sorted(cfg.keys() - parameters.keys() - {'type', '_scope_'})
    if missing or unknown:
        fault = f'lacks {", ".join(missing)}' if missing else f'has {", ".join(unknown)}'
        expected = ', '.join(name for name in parameters if name not in defaults)
        raise ValueError(
            f'{argument}={dict(cfg)} {fault}: expected arguments of {kind.__name__}: {expected}.'
        )


def require_config(argument: str, value: Any) -> Any:
    """Return the value of an argument, which has to be a config.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, Mapping):
        raise ValueError(
            f'{argument}={value!r} is not a config: give a dict, such as dict(type=...).'
        )
    return value


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
