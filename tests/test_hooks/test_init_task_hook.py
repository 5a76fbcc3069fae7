"""A training starts from a task file, but a resumed one from its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine import Config


@pytest.fixture
def wide(tiny):
    """``wide('name')``: a config whose head has three classes."""

    def config(name: str) -> Config:
        cfg = tiny(name)
        cfg.model.classes = 3
        return cfg

    return config


def with_task(cfg: Config, task: Path) -> Config:
    """``cfg`` with the hook."""
    cfg.custom_hooks.append(dict(type='mmqadapter.InitTaskHook', task=str(task)))
    return cfg


def head(path: Path) -> torch.Tensor:
    return torch.load(path, weights_only=False)['state_dict']['head.weight']


def test_it_starts_from_the_task_file(wide, train, tmp_path: Path) -> None:
    train(wide('first'))
    cfg = with_task(wide('second'), tmp_path / 'first/last.task.safetensors')
    cfg.optim_wrapper.optimizer.lr = 0.0
    cfg.randomness = dict(seed=7)  # other initial weights than the first training's
    train(cfg)
    assert torch.equal(head(tmp_path / 'second/iter_6.pth'), head(tmp_path / 'first/iter_6.pth'))


def test_a_resumed_training_goes_on_from_its_checkpoint(wide, train, tmp_path: Path) -> None:
    train(wide('first'))
    middle = tmp_path / 'first/iter_3.pth'
    cfg = with_task(wide('resumed'), tmp_path / 'first/last.task.safetensors')
    train(cfg, resume=middle)
    assert torch.equal(head(tmp_path / 'resumed/iter_6.pth'), head(tmp_path / 'first/iter_6.pth'))
    assert not torch.equal(head(middle), head(tmp_path / 'first/iter_6.pth'))
