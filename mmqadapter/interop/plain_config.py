"""Config of a tuned model without our wrapper, hooks and imports."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from mmqadapter.interop.config_tree import PACKAGE, builds, map_configs

# Wrappers whose trunk can stand alone once LoRA is merged.
MERGEABLE = ('AdaptedBackbone', 'FrozenBackbone')
# Keys of a backbone's config that name its weights.
WEIGHT_KEYS = ('checkpoint', 'pretrained')
# Arguments of TaskCheckpointHook that mmengine's CheckpointHook does not take.
OUR_CHECKPOINT_KEYS = ('keep_trunk', 'head_bits')


def plain_config(cfg: Config) -> Config:
    """Return a copy of ``cfg`` that builds the plain model, for a merged checkpoint.

    The backbone loads no weights itself because the checkpoint has all of them. Our hooks and
    constructors are left out; mmengine's CheckpointHook replaces ours.
    """
    content = cfg.to_dict()
    content['model'] = map_configs(content['model'], _unwrap)
    content.update(load_from=None, resume=False)
    hooks = content.get('custom_hooks') or []
    content['custom_hooks'] = [hook for hook in hooks if not _is_ours(hook.get('type'))]
    _replace_checkpoint_hook(content.get('default_hooks') or {})
    if _is_ours((content.get('optim_wrapper') or {}).get('constructor')):
        del content['optim_wrapper']['constructor']
    return _without_import(content)


def needs_package(cfg: Config) -> bool:
    """Return whether a config names a part of this package."""
    return _names_package(cfg.to_dict())


def _names_package(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(_names_package(item) for item in value)
    return _is_ours(value)


def _unwrap(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the trunk if ``config`` wraps one, else ``config`` itself."""
    if not builds(config, MERGEABLE):
        return config
    trunk = {name: value for name, value in config['backbone'].items() if name not in WEIGHT_KEYS}
    return {**trunk, 'init_cfg': None}


def _replace_checkpoint_hook(hooks: dict[str, Any]) -> None:
    hook = hooks.get('checkpoint') or {}
    if _is_ours(hook.get('type')):
        shared = {name: v for name, v in hook.items() if name not in OUR_CHECKPOINT_KEYS}
        hooks['checkpoint'] = {**shared, 'type': 'CheckpointHook'}


def _without_import(content: dict[str, Any]) -> Config:
    """Return the config without the import of this package, unless it still needs it."""
    imports = content.pop('custom_imports', None) or {}
    modules = imports.get('imports') or ()
    modules = [modules] if isinstance(modules, str) else modules
    modules = [module for module in modules if module.split('.')[0] != PACKAGE]
    if needs_package(Config(content)):
        modules.append(PACKAGE)
    if modules:
        content['custom_imports'] = {**imports, 'imports': modules}
    return Config(content)


def _is_ours(kind: Any) -> bool:
    return str(kind).startswith(f'{PACKAGE}.')
