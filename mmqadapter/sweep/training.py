"""One training of a sweep: what it is called, and its complete config."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict

from mmqadapter.sweep.methods import GROUPS
from mmqadapter.sweep.plan import Sweep

TUNE, SEED, TIME = 'tune', 'seed', 'time'
HOOKS = ('mmqadapter.ExactResumeHook', 'mmqadapter.TuningSummaryHook')
MOST_LOST = 1000  # iterations that a kill costs at most


@dataclass(frozen=True)
class Training:
    """What one training is given.

    Attributes:
        purpose: ``TUNE`` to choose rates, ``SEED`` to be reported, ``TIME`` to be timed.
        method: Name of a method.
        seed: Of data order, augmentation and the start of the head.
        iterations: How long it trains.
        head_rate: Learning rate of neck and head.
        rate: Learning rate of the method's group; None where it has none.
    """

    purpose: str
    method: str
    seed: int
    iterations: int
    head_rate: float
    rate: float | None

    @property
    def name(self) -> str:
        """Name of its folder, another one for each training of a sweep."""
        words = [self.purpose, self.method, f'iterations{self.iterations}', f'seed{self.seed}']
        words.append(f'head{self.head_rate:g}')
        return '_'.join(words if self.rate is None else [*words, f'rate{self.rate:g}'])


def training_config(sweep: Sweep, training: Training) -> Config:
    """Complete config of a training.

    Validation is after the last iteration alone: nothing is selected on its images but the rates.
    """
    cfg = copy.deepcopy(sweep.config)
    cfg.pop('work_dir', None)
    cfg.model.backbone = ConfigDict(copy.deepcopy(sweep.methods[training.method].backbone))
    cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': training.seed}
    _set_rates(cfg, training, sweep.methods[training.method].group)
    _set_length(cfg, training, sweep.iterations)
    _set_hooks(cfg, training.iterations)
    if training.purpose == TIME:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


def _set_rates(cfg: Config, training: Training, group: str | None) -> None:
    wrapper = cfg.optim_wrapper
    wrapper.optimizer.lr = training.head_rate
    if not wrapper.get('constructor'):
        wrapper.constructor = 'mmqadapter.TrainableOptimWrapperConstructor'
    options = dict(wrapper.get('paramwise_cfg') or {})
    given = options.get('custom_keys') or {}
    keys: dict[str, Any] = {name: value for name, value in given.items() if name not in GROUPS}
    if group is not None and training.rate is not None:
        factor = training.rate / training.head_rate
        keys[group] = {**given.get(group, {}), 'lr_mult': factor}
    wrapper.paramwise_cfg = {**options, 'custom_keys': keys}


def _set_length(cfg: Config, training: Training, iterations: int) -> None:
    """Set length and schedule; that of a timed training is the beginning of the whole one."""
    loop, before = cfg.train_cfg, cfg.train_cfg.max_iters
    loop.max_iters = loop.val_interval = training.iterations
    for name in ('val_begin', 'dynamic_intervals'):
        loop.pop(name, None)
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        for key in ('end', 'T_max'):
            if scheduler.get(key) == before:
                scheduler[key] = iterations


def _set_hooks(cfg: Config, iterations: int) -> None:
    """Have checkpoints to go on from, and the summary that the report takes its figures from."""
    hooks = dict(cfg.get('default_hooks') or {})
    hooks['checkpoint'] = {
        **(hooks.get('checkpoint') or {}),
        'type': 'mmqadapter.TaskCheckpointHook',
        'by_epoch': False,
        'interval': max(1, min(MOST_LOST, iterations // 4)),
        'max_keep_ckpts': 1,
        'save_best': None,  # only the last iteration is validated
    }
    cfg.default_hooks = hooks
    cfg.log_processor = {**(cfg.get('log_processor') or {}), 'by_epoch': False}
    custom = list(cfg.get('custom_hooks') or [])
    present = {hook.get('type') for hook in custom}
    cfg.custom_hooks = [*custom, *(dict(type=kind) for kind in HOOKS if kind not in present)]
    imports = cfg.get('custom_imports') or {}
    names = [*imports.get('imports', ()), 'mmqadapter']
    cfg.custom_imports = {**imports, 'imports': list(dict.fromkeys(names))}
