"""A UperNet on two gloo processes trains as one process does on both half-batches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_runs import tool

pytest.importorskip('mmseg')
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def two_ranks(upernet, launch, tmp_path_factory) -> Path:
    """Work dir of four steps on two processes."""
    work_dir = tmp_path_factory.mktemp('two_ranks')
    launch('dist_train.sh', upernet, '2', '--work-dir', str(work_dir))
    return work_dir


def test_parameters_stay_equal_on_both_ranks(two_ranks):
    first, second = (load(two_ranks, f'end_rank{rank}') for rank in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_equals_one_process_that_accumulates(upernet, two_ranks, launch, tmp_path):
    twice = ['optim_wrapper.accumulative_counts=2', 'train_cfg.max_iters=8']
    launch('train.py', upernet, '--work-dir', str(tmp_path), '--cfg-options', *twice)
    start, two, one = (
        load(two_ranks, 'start_rank0'), load(two_ranks, 'end_rank0'), load(tmp_path, 'end_rank0')
    )  # fmt: skip
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
    moved = {name for name in one if not torch.equal(one[name], start[name])}
    assert any('adapters' in name for name in moved) and any('decode_head' in n for n in moved)
    assert not any('trunk' in name for name in moved)


def test_two_processes_score_as_one(upernet, two_ranks, launch, tmp_path):
    task = str(two_ranks / 'last.task.safetensors')
    launch('dist_test.sh', upernet, task, '2', '--work-dir', str(tmp_path / 'two'))
    assert tool('test')([upernet, task, '--work-dir', str(tmp_path / 'one')]) == 0
    one, two = (scores(tmp_path / name) for name in ('one', 'two'))
    for score in ('aAcc', 'mIoU', 'mAcc'):
        assert one[score] == pytest.approx(two[score], abs=0.1)  # percent; equal without a GPU


def load(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / f'{name}.pth')


def scores(work_dir: Path) -> dict[str, float]:
    """What mmengine logged of a test."""
    (log,) = work_dir.glob('*/*.json')
    # Every rank writes it: behind the last one's object may be the end of another's.
    return json.JSONDecoder().raw_decode(log.read_text())[0]
