"""A sweep file that is only parsed, and a trainer that returns scores without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.training import Training

CONFIG = """
model = dict(type='EncoderDecoder', backbone=dict(
    type='mmqadapter.FrozenBackbone',
    backbone=dict(type='mmseg.SwinTransformer', frozen_stages=2, drop_path_rate=0.1)))
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.5),
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=9.0), 'norm': dict(decay_mult=0.0)}))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=50, val_interval=10)
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, begin=0, end=5),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=5, end=50)]
val_dataloader = dict(batch_size=1)
val_evaluator = dict(type='IoUMetric')
val_cfg = dict(type='ValLoop')
"""
SWEEP: dict[str, Any] = {
    'config': 'plain.py',
    'iterations': 20,
    'metric': 'mIoU',
    'seeds': [0, 1],
    'tuning_seed': 7,
    'head_rates': [0.01, 0.1],
    'rates': {'adapters': [0.001, 0.01, 0.1], 'backbone': [0.001, 0.01]},
    'methods': ['frozen', 'full', 'adaptformer', 'adaptformer@1'],
}


class FakeTrainer:
    """Trainer that returns a score at once; a score of None is a failure."""

    def __init__(
        self,
        score: Callable[[Training], float | None],
        machine: Callable[[Training], str] = lambda training: 'some CPU',
    ) -> None:
        self.score, self.machine, self.trained = score, machine, list[Training]()

    def __call__(self, training: Training, slot: ResourceSlot) -> Outcome:
        self.trained.append(training)
        score = self.score(training)
        if score is None:
            return Outcome(training, None, 'it broke', Path('there/console.log'))
        result = {
            'score': None if training.purpose == 'time' else score,
            'losses': [[1, 0.5]],
            'step_seconds': 0.25,
            # As if another version of the package had counted differently.
            'saved_for_backward_bytes': 1000 if training.purpose == 'time' else 2000,
            'trainable_params': 30,
            'trainable_backbone_params': 10,
            'adapter_bytes': 5,
            'task_bytes': 99,
            'machine': self.machine(training),
        }
        return Outcome(training, result)


class Silent:
    """Observer that records its calls."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.outcomes: list[Outcome] = []

    def begin(self, title: str, count: int) -> None:
        self.begun.append((title, count))

    def ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
