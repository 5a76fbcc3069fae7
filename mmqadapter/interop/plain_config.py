"""The config of a tuned model without our wrapper, hooks and imports."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

PACKAGE = 'mmqadapter'
SCOPE = f'{PACKAGE}.'
WRAPPERS = ('AdaptedBackbone', 'FrozenBackbone')
# Where a backbone's config says its weights come from.
SOURCES = ('checkpoint', 'pretrained')
# Arguments that mmengine's checkpoint hook does not have.
OUR_CHECKPOINTING = ('keep_trunk', 'head_bits')


def plain_config(cfg: Config) -> Config:
    """A copy of ``cfg`` whose model is the plain one, for the weights of a merged checkpoint.

    The backbone loads nothing itself, since the checkpoint has it all. Our hooks and constructors
    are left out; mmengine's CheckpointHook takes the place of ours.
    """
    content = cfg.to_dict()
    content['model'] = _unwrapped(content['model'])
    content.update(load_from=None, resume=False)
    hooks = content.get('custom_hooks') or []
    content['custom_hooks'] = [hook for hook in hooks if not _ours(hook.get('type'))]
    _replace_checkpointing(content.get('default_hooks') or {})
    if _ours((content.get('optim_wrapper') or {}).get('constructor')):
        del content['optim_wrapper']['constructor']
    return _without_import(content)


def needs_package(cfg: Config) -> bool:
    """Whether a config names a part of this package."""
    return _mentions(cfg.to_dict())


def _mentions(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(_mentions(item) for item in value)
    return _ours(value)


def _unwrapped(value: Any) -> Any:
    """``value`` with the inner config in the place of each wrapped backbone."""
    if isinstance(value, (list, tuple)):
        return type(value)(_unwrapped(item) for item in value)
    if not isinstance(value, dict):
        return value
    scope, _, kind = str(value.get('type')).rpartition('.')
    if kind in WRAPPERS and scope.split('.')[0] in ('', PACKAGE):
        inner = {k: v for k, v in value['backbone'].items() if k not in SOURCES}
        return {**inner, 'init_cfg': None}
    return {name: _unwrapped(item) for name, item in value.items()}


def _replace_checkpointing(hooks: dict[str, Any]) -> None:
    hook = hooks.get('checkpoint') or {}
    if _ours(hook.get('type')):
        kept = {k: v for k, v in hook.items() if k not in OUR_CHECKPOINTING}
        hooks['checkpoint'] = {**kept, 'type': 'CheckpointHook'}


def _without_import(content: dict[str, Any]) -> Config:
    imports = content.pop('custom_imports', None) or {}
    named = imports.get('imports') or ()
    named = [named] if isinstance(named, str) else named
    kept = [name for name in named if name.split('.')[0] != PACKAGE]
    if needs_package(Config(content)):
        kept.append(PACKAGE)
    if kept:
        content['custom_imports'] = {**imports, 'imports': kept}
    return Config(content)


def _ours(kind: Any) -> bool:
    return str(kind).startswith(SCOPE)
