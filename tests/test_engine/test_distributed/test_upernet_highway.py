"""A highway on two gloo processes, without find_unused_parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip('mmseg')
pytestmark = pytest.mark.slow


def test_equals_one_process_that_accumulates(upernet_highway, launch, tmp_path):
    two, one = tmp_path / 'two', tmp_path / 'one'
    launch('dist_train.sh', upernet_highway, '2', '--work-dir', str(two))
    twice = ['optim_wrapper.accumulative_counts=2', 'train_cfg.max_iters=8']
    launch('train.py', upernet_highway, '--work-dir', str(one), '--cfg-options', *twice)
    start, first, second = (load(two, name) for name in ('start_rank0', 'end_rank0', 'end_rank1'))
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.testing.assert_close(first, load(one, 'end_rank0'), rtol=1e-4, atol=1e-5)
    moved = {name for name in first if not torch.equal(first[name], start[name])}
    assert any('highway.stem' in name for name in moved)
    assert any('highway.stages' in name for name in moved)
    assert not any('trunk' in name for name in moved)


def load(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / f'{name}.pth')
