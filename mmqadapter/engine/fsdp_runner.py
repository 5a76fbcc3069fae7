"""mmengine's ``FlexibleRunner``, whose strategies shard a model over processes (FSDP)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, RUNNERS, init_default_scope
from mmengine.runner import FlexibleRunner, load_checkpoint

from mmqadapter.engine.distributed import LAUNCH
from mmqadapter.utils.tuned_backbone import tuned_backbone

FSDP = 'FSDPStrategy'
# Hooks that copy the model that trains, change it after it has been sharded, or hook into it.
UNSHARDED_HOOKS = {'DistillationHook', 'EMAHook', 'QuantizeTaskHook'}


def is_flexible(cfg: Config) -> bool:
    """Return whether ``cfg`` asks for the runner that has strategies."""
    return cfg.get('runner_type') == 'FlexibleRunner'


def flexible_runner(cfg: Config) -> FlexibleRunner:
    """Build the runner of ``cfg``, with weights in its model before a strategy shards it.

    Args:
        cfg: Config with ``runner_type='FlexibleRunner'``.
    """
    runner = RUNNERS.build(cfg)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    model = MODELS.build(cfg.model)
    model.init_weights()
    if cfg.get('load_from') and not cfg.resume:
        load_checkpoint(model, cfg.load_from, map_location='cpu')
    backbone = tuned_backbone(model)
    if backbone is not None:
        _ = backbone.fingerprint  # computed now, from whole weights, and cached
    runner.model = model
    if not cfg.resume:
        runner._load_from = None
    return runner


def check_strategy(cfg: Config) -> None:
    """Check that a model that ``cfg`` shards (FSDP) can train as ``cfg`` says.

    Raises:
        ValueError: A setting in ``cfg`` does not work with shards.
    """
    strategy = cfg.get('strategy') or {}
    if not is_flexible(cfg) or FSDP not in _type_name(strategy):
        return
    for problem in _problems(cfg, strategy):
        raise ValueError(f'strategy type={FSDP!r}: {problem}')


def _problems(cfg: Config, strategy: dict) -> Iterator[str]:
    """Yield a message for each setting that does not work with shards."""
    if (cfg.get('launcher') or 'none') == 'none':
        yield f'one process cannot shard; start several: {LAUNCH}.'
    kind = strategy.get('state_dict_cfg', 'local')
    if kind != 'full' and 'FULL_STATE_DICT' not in str(kind):
        yield (
            f'state_dict_cfg={kind!r} writes shards that only the same number of processes can '
            "read; set state_dict_cfg='full'."
        )
    wrapper = strategy.get('model_wrapper') or {}
    if not wrapper.get('use_orig_params', True):
        yield 'use_orig_params=False mixes trained and frozen parameters; leave it out.'
    clip = (cfg.get('optim_wrapper') or {}).get('clip_grad') or {}
    if clip and clip.get('type', 'norm') == 'norm':
        yield (
            'optim_wrapper.clip_grad takes the norm of the gradient that one process holds, not of '
            "the whole one; set clip_grad=None, or clip_grad=dict(type='value', clip_value=...)."
        )
    for hook in cfg.get('custom_hooks') or ():
        if (name := _type_name(hook).rpartition('.')[-1]) in UNSHARDED_HOOKS:
            yield f'{name} needs the whole model in each process; leave it out of custom_hooks.'


def _type_name(config: Any) -> str:
    kind = config.get('type', '')
    return kind if isinstance(kind, str) else kind.__name__
