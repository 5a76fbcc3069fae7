"""Trainings of a small adapted Swin with a small head, at a few milliseconds per step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from tiny_runs import SWIN, forget
from torch import Tensor, nn

from mmqadapter.engine import exactly_resumable


@MODELS.register_module(force=True)
class SmallNet(BaseModel):
    """Model of an adapted backbone, dropout and convolutions, whose loss can be corrupted.

    Args:
        backbone: Config of the backbone.
        spoilt: Value that changes the loss of a step, by the step's number from 1.
    """

    def __init__(self, backbone: dict[str, Any], spoilt: dict[int, float] | None = None) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = nn.Sequential(
            nn.Dropout(0.2), nn.Conv2d(16, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)
        )
        self.spoilt, self.steps = spoilt or {}, 0

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        out = self.head(self.backbone(inputs)[-1])
        if mode != 'loss':
            return [out]
        self.steps += 1
        # As a factor it corrupts the gradient as well.
        return {'loss_fit': out.square().mean() * (1 + self.spoilt.get(self.steps, 0.0))}


@DATASETS.register_module(force=True)
class SmallImages:
    """Data set of eight noisy images, with noise from the generators of torch and numpy."""

    metainfo = {'classes': ('one',)}

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': torch.rand(3, 32, 32) + float(np.random.rand()) + index / 8}


@METRICS.register_module(force=True)
class Rising(BaseMetric):
    """Metric that is better in each evaluation than in the one before."""

    score = 0.0

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        Rising.score += 1.0
        return {'mIoU': Rising.score}


def small_config(
    work_dir: Path,
    steps: int = 4,
    workers: int = 0,
    adapter: dict[str, Any] | None = None,
    bits: int | None = 1,
    **model: Any,
) -> Config:
    """Return a config that validates and saves checkpoints, also the best, every two steps."""
    backbone = dict(
        type='mmqadapter.AdaptedBackbone',
        backbone=dict(type='mmseg.SwinTransformer', **SWIN),
        adapter=adapter or dict(type='AdaptFormer', width=4, dropout=0.1),
        quantizer=dict(type='GaussianQuantizer', bits=bits) if bits else None,
    )
    loader = dict(batch_size=2, num_workers=workers, collate_fn=dict(type='default_collate'))
    data = dict(dataset=dict(type='SmallImages'), **loader)
    saving = dict(interval=2, by_epoch=False, save_best='mIoU', rule='greater')
    hooks = ('ExactResumeHook', 'FiniteLossHook', 'EfficiencyHook')
    return Config(
        dict(
            model=dict(type='SmallNet', backbone=backbone, **model),
            work_dir=str(work_dir),
            default_scope='mmengine',
            log_level='WARNING',
            train_cfg=dict(by_epoch=False, max_iters=steps, val_interval=2),
            train_dataloader=dict(sampler=dict(type='InfiniteSampler', shuffle=True), **data),
            val_dataloader=dict(sampler=dict(type='DefaultSampler'), **data),
            val_cfg=dict(),
            val_evaluator=dict(type='Rising'),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
            default_hooks=dict(checkpoint=dict(type='mmqadapter.TaskCheckpointHook', **saving)),
            custom_hooks=[dict(type=f'mmqadapter.{name}') for name in hooks],
        )
    )


def train(cfg: Config, resume: bool = False, hook: Hook | None = None) -> Runner:
    """Train a config, optionally from its last checkpoint or with an additional hook."""
    cfg = exactly_resumable(cfg)
    cfg.resume = resume
    forget()
    runner = Runner.from_cfg(cfg)
    if hook is not None:
        runner.register_hook(hook)
    runner.train()
    vars(runner.train_loop).pop('dataloader_iterator', None)  # ends its workers
    return runner


@pytest.fixture
def quick_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Skip the seconds in which mmengine asks compilers for their versions."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    Rising.score = 0.0
    yield
    forget()
