"""A UperNet on several gloo processes trains as one process does on all parts of the batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_runs import tool

pytest.importorskip('mmseg')
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('two_ranks')]


@pytest.fixture(scope='module')
def four_ranks(upernet, launch, tmp_path_factory) -> Path:
    """Work dir of four steps on four processes."""
    work_dir = tmp_path_factory.mktemp('four_ranks')
    launch('dist_train.sh', upernet, '4', '--work-dir', str(work_dir))
    return work_dir


@pytest.fixture(params=(2, 4))
def ranks(request, two_ranks) -> tuple[int, Path]:
    """A number of processes, and the work dir of their four steps."""
    count = request.param
    return count, two_ranks if count == 2 else request.getfixturevalue('four_ranks')


def test_parameters_stay_equal_on_all_ranks(ranks):
    count, work_dir = ranks
    first, *others = (load(work_dir, f'end_rank{rank}') for rank in range(count))
    for other in others:
        assert first.keys() == other.keys()
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_equals_one_process_that_accumulates(upernet, ranks, launch, tmp_path):
    count, work_dir = ranks
    more = [f'optim_wrapper.accumulative_counts={count}', f'train_cfg.max_iters={4 * count}']
    launch('train.py', upernet, '--work-dir', str(tmp_path), '--cfg-options', *more)
    start, several, one = (
        load(work_dir, 'start_rank0'), load(work_dir, 'end_rank0'), load(tmp_path, 'end_rank0')
    )  # fmt: skip
    torch.testing.assert_close(several, one, rtol=1e-4, atol=1e-6)
    curves = [load(work_dir, f'losses_rank{rank}')['losses'] for rank in range(count)]
    expected = load(tmp_path, 'losses_rank0')['losses'].reshape(4, count)
    torch.testing.assert_close(torch.stack(curves, 1), expected, rtol=1e-5, atol=1e-6)
    assert expected.unique().numel() == 4 * count  # no two batches are alike
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
