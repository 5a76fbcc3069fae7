"""The same seed gives the same weights, with any number of workers; another seed gives others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import quick_start, small_config, train

__all__ = ['quick_start']


def trained(work_dir: Path, seed: int = 0, **settings: Any) -> tuple[dict, bytes, list]:
    """Train, and return weights, task file and losses."""
    cfg = small_config(work_dir, **settings)
    cfg.randomness = dict(seed=seed)
    runner = train(cfg)
    history, _ = runner.message_hub.get_scalar('train/loss').data
    state = torch.load(work_dir / 'iter_4.pth', weights_only=False)['state_dict']
    return state, (work_dir / 'last.task.safetensors').read_bytes(), history.tolist()


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('workers', [0, 2])
def test_the_same_seed_gives_the_same_files(
    quick_start: None, tmp_path: Path, workers: int
) -> None:
    first = trained(tmp_path / 'first', workers=0)
    torch.rand(7)
    again = trained(tmp_path / 'again', workers=workers)
    assert first[2] == again[2] and equal(first[0], again[0]) and first[1] == again[1]


def test_another_seed_gives_other_weights(quick_start: None, tmp_path: Path) -> None:
    first, other = (trained(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert first[2] != other[2] and not equal(first[0], other[0])
