"""Memory, open files and hooks do not grow in a long training."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from small_runs import quick_start, small_config, train
from torch import nn

__all__ = ['quick_start']

MIB = 2**20
EARLY = 100  # steps after which all caches are filled


class Watch(Hook):
    """Hook that records the resources of the process at intervals."""

    priority = 'LOWEST'

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.seen: list[dict[str, int]] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self.seen.append(held(runner.model))


def held(model: nn.Module) -> dict[str, int]:
    gc.collect()
    hooks = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_state_dict_hooks')
    modules = [*model.modules()]
    return {
        'memory': psutil.Process().memory_info().rss,
        'files': len(os.listdir('/proc/self/fd')),
        'hooks': sum(len(getattr(module, name)) for module in modules for name in hooks),
        'modules': len(modules),
        'tensors': sum(1 for thing in gc.get_objects() if type(thing) is torch.Tensor),
    }


def grown_memory(seen: list[dict[str, int]]) -> int:
    """Return by how many bytes the second half of a run holds more than the first.

    In a process that has run other tests the allocator takes memory in jumps of tens of MiB. A leak
    goes on, so the peaks of both halves tell it apart from a jump at the start.
    """
    half = len(seen) // 2
    before, after = (max(row['memory'] for row in rows) for rows in (seen[:half], seen[half:]))
    return after - before


@pytest.mark.parametrize(
    ('steps', 'growth'), [(400, 12), pytest.param(5000, 24, marks=pytest.mark.slow)]
)
def test_nothing_grows(quick_start: None, tmp_path: Path, steps: int, growth: int) -> None:
    cfg = small_config(tmp_path, steps=steps)
    cfg.train_cfg.val_interval = cfg.default_hooks.checkpoint.interval = EARLY // 2
    cfg.default_hooks.checkpoint.update(max_keep_ckpts=1)
    watch = Watch(EARLY)
    train(cfg, hook=watch)
    first, last = watch.seen[0], watch.seen[-1]
    assert len(watch.seen) == steps // EARLY
    assert grown_memory(watch.seen) < growth * MIB, watch.seen
    for kind in ('files', 'hooks', 'modules'):
        assert last[kind] == first[kind], kind
    assert last['tensors'] <= first['tensors'] + 10
