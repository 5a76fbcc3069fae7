"""A tiny tuned model, random data and a factory of runners that train it for six steps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS, DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from mmqadapter.engine import exactly_resumable
from mmqadapter.utils.tuned_backbone import TunedBackbone


class TinyTuned(TunedBackbone):
    """Stand-in for a tuned backbone: a frozen trunk and one trainable adapter."""

    fingerprint = ''

    def __init__(self, fingerprint: str) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).requires_grad_(False).eval()
        self.adapters = nn.Linear(4, 4)
        self.tuning_config: dict = {}
        self.fingerprint = fingerprint
        self.trainable_names = frozenset[str]()

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk(x) + self.adapters(x)


@MODELS.register_module(force=True)
class TinyModel(BaseModel):
    """Model of a backbone, dropout and a head."""

    def __init__(self, fingerprint: str | None = 'abc', classes: int = 1) -> None:
        super().__init__()
        self.backbone = TinyTuned(fingerprint) if fingerprint else nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, classes)

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        out = self.head(self.dropout(self.backbone.eval()(inputs)))
        return {'loss': out.square().mean()} if mode == 'loss' else [out]


@DATASETS.register_module(force=True)
class NoisyData:
    """Eight samples of four numbers with noise from all three generators."""

    metainfo = {'classes': ('one',), 'palette': [(1, 2, 3)]}

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        noise = torch.rand(4) + random.random() + float(np.random.rand())
        return {'inputs': noise.float() + float(index)}


@METRICS.register_module(force=True)
class Scripted(BaseMetric):
    """Metric with given scores that draws random numbers, as real metrics may."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__(prefix='toy')
        self.scores = list(scores)

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(float(np.random.rand()))

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {'mIoU': self.scores.pop(0)}


@pytest.fixture(autouse=True)
def fresh_globals() -> Iterator[None]:
    """mmengine keeps loggers, visualizers and scopes by name for the life of the process."""
    yield
    for manager in (MMLogger, Visualizer, DefaultScope):
        manager._instance_dict.clear()


def tiny_config(work_dir: Path, by_epoch: bool = False, workers: int = 0) -> Config:
    """Six steps of two samples; validation and a checkpoint after three (four by epochs)."""
    loader = dict(num_workers=workers, batch_size=2, collate_fn=dict(type='default_collate'))
    length = dict(max_epochs=2, val_interval=1) if by_epoch else dict(max_iters=6, val_interval=3)
    return Config(
        dict(
            model=dict(type='TinyModel'),
            work_dir=str(work_dir),
            experiment_name=str(work_dir),
            default_scope='mmengine',
            log_level='WARNING',
            train_cfg=dict(by_epoch=by_epoch, **length),
            train_dataloader=dict(
                dataset=dict(type='NoisyData'),
                sampler=dict(
                    type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True
                ),
                **loader,
            ),
            val_dataloader=dict(
                dataset=dict(type='NoisyData'), sampler=dict(type='DefaultSampler'), **loader
            ),
            val_cfg=dict(),
            val_evaluator=dict(type='Scripted', scores=[0.5, 0.4]),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
            param_scheduler=dict(type='ExponentialLR', gamma=0.9, by_epoch=by_epoch),
            default_hooks=dict(
                checkpoint=dict(
                    type='mmqadapter.TaskCheckpointHook',
                    interval=1 if by_epoch else 3,
                    by_epoch=by_epoch,
                )
            ),
            custom_hooks=[dict(type='mmqadapter.ExactResumeHook')],
        )
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Config]:
    """``tiny('name', by_epoch, workers)``: a config whose work dir is ``tmp_path/name``."""
    return lambda name='run', *args, **kwargs: tiny_config(tmp_path / name, *args, **kwargs)


@pytest.fixture
def train() -> Callable[..., Runner]:
    """Train a config, resuming from a checkpoint where one is given; returns the runner."""

    def run(cfg: Config, resume: Path | None = None) -> Runner:
        if resume is not None:
            cfg.merge_from_dict(dict(resume=True, load_from=str(resume)))
        runner = Runner.from_cfg(exactly_resumable(cfg))
        runner.train()
        # Workers of the next run must not be forked with a copy of this run's iterator.
        vars(runner.train_loop).pop('dataloader_iterator', None)
        return runner

    return run


@pytest.fixture
def saved_tasks(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[dict, dict]]:
    """Content of the task files by name: (weights, keyword arguments of save_task)."""
    tasks: dict[str, tuple[dict, dict]] = {}

    def save(model: nn.Module, path: Path, **kwargs: Any) -> None:
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        tasks[path.name] = (weights, kwargs)
        path.write_bytes(b'task')

    monkeypatch.setattr('mmqadapter.hooks.task_checkpoint_hook.save_task', save)
    return tasks
