"""Training of a sweep: its name and its complete config."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict

from mmqadapter.studies.sweep.cost_hook import COST_HOOK, with_one_cost_hook
from mmqadapter.studies.sweep.length import Length, set_length
from mmqadapter.studies.sweep.methods import GROUPS
from mmqadapter.studies.sweep.plan import Sweep

TUNE, SEED, TIME = 'tune', 'seed', 'time'
HOOKS = ('mmqadapter.ExactResumeHook', COST_HOOK)
CHECKPOINT_INTERVAL = 1000  # iterations that a killed training loses at most


@dataclass(frozen=True)
class Training:
    """Parameters of a training.

    Attributes:
        purpose: ``TUNE`` to choose rates, ``SEED`` to be reported, ``TIME`` to be timed.
        method: Name of a method.
        seed: Seed of data order, augmentation and the initial head.
        length: Length of the training.
        head_rate: Learning rate of neck and head.
        rate: Learning rate of the method's group; None without one.
    """

    purpose: str
    method: str
    seed: int
    length: Length
    head_rate: float
    rate: float | None

    @property
    def name(self) -> str:
        """Name of the training's folder, unique in a sweep."""
        parts = [self.purpose, self.method, str(self.length), f'seed{self.seed}']
        parts.append(f'head{self.head_rate:g}')
        return '_'.join(parts if self.rate is None else [*parts, f'rate{self.rate:g}'])


def training_config(sweep: Sweep, training: Training) -> Config:
    """Return the complete config of a training.

    The checkpoint is always the last one: only learning rates are selected on validation images.
    """
    cfg = copy.deepcopy(sweep.config)
    cfg.pop('work_dir', None)
    cfg.model.backbone = ConfigDict(copy.deepcopy(sweep.methods[training.method].backbone))
    cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': training.seed}
    _set_rates(cfg, training, sweep.methods[training.method].group)
    validations = max(1, validations_of(sweep, training))
    set_length(cfg, training.length, sweep.length, validations)
    _set_hooks(cfg, training.length)
    _set_head_bits(cfg, sweep.methods[training.method].head_bits)
    if validations > 1:
        logger = cfg.default_hooks.get('logger') or dict(type='LoggerHook')
        cfg.default_hooks.logger = {**logger, 'log_metric_by_epoch': False}
    if training.purpose == TIME:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


def validations_of(sweep: Sweep, training: Training) -> int:
    """Return the maximum number of validations of a training; 0 for one that is timed."""
    return {SEED: sweep.validations, TUNE: 1, TIME: 0}[training.purpose]


def _set_rates(cfg: Config, training: Training, group: str | None) -> None:
    wrapper = cfg.optim_wrapper
    wrapper.optimizer.lr = training.head_rate
    if not wrapper.get('constructor'):
        wrapper.constructor = 'mmqadapter.TrainableOptimWrapperConstructor'
    options = dict(wrapper.get('paramwise_cfg') or {})
    old_keys = options.get('custom_keys') or {}
    keys: dict[str, Any] = {name: value for name, value in old_keys.items() if name not in GROUPS}
    if group is not None and training.rate is not None:
        factor = training.rate / training.head_rate
        keys[group] = {**old_keys.get(group, {}), 'lr_mult': factor}
    wrapper.paramwise_cfg = {**options, 'custom_keys': keys}


def _set_hooks(cfg: Config, length: Length) -> None:
    """Add checkpoints to resume from and the summary that the report is made of."""
    hooks = dict(cfg.get('default_hooks') or {})
    hooks['checkpoint'] = {
        **(hooks.get('checkpoint') or {}),
        'type': 'mmqadapter.TaskCheckpointHook',
        'by_epoch': length.by_epoch,
        'interval': 1 if length.by_epoch else max(1, min(CHECKPOINT_INTERVAL, length.count // 4)),
        'max_keep_ckpts': 1,
        'save_best': None,  # the score is that of the end
    }
    cfg.default_hooks = hooks
    cfg.log_processor = {**(cfg.get('log_processor') or {}), 'by_epoch': length.by_epoch}
    _log_into_files(cfg)
    custom = with_one_cost_hook(cfg.get('custom_hooks') or [])
    present = {hook.get('type') for hook in custom}
    cfg.custom_hooks = [*custom, *(dict(type=kind) for kind in HOOKS if kind not in present)]
    imports = cfg.get('custom_imports') or {}
    names = [*imports.get('imports', ()), 'mmqadapter']
    cfg.custom_imports = {**imports, 'imports': list(dict.fromkeys(names))}


def _log_into_files(cfg: Config) -> None:
    """Add the log file that scores and curves are read from."""
    if cfg.get('visualizer'):
        backends = list(cfg.visualizer.get('vis_backends') or [])
        if not any(str(b.get('type')).endswith('LocalVisBackend') for b in backends):
            cfg.visualizer.vis_backends = [*backends, dict(type='LocalVisBackend')]


def _set_head_bits(cfg: Config, bits: int | dict[str, int] | None) -> None:
    if bits not in (None, 32):
        cfg.custom_hooks = [*cfg.custom_hooks, dict(type='mmqadapter.QuantizeTaskHook', bits=bits)]
