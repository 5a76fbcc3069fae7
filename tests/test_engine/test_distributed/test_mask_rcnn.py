"""A Mask R-CNN on two gloo processes, without find_unused_parameters: gradients, exact resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet')
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('mask_rcnn')]
END = ('end_rank0', 'end_rank1')


@pytest.fixture(scope='module')
def whole(mask_rcnn, launch, tmp_path_factory) -> Path:
    """Work dir of four uninterrupted steps on two processes."""
    work_dir = tmp_path_factory.mktemp('whole')
    launch('dist_train.sh', mask_rcnn, '2', '--work-dir', str(work_dir))
    return work_dir


def test_synchronized_gradient_is_the_mean_of_the_ranks(whole):
    ranks = [torch.load(whole / f'gradients_rank{rank}.pth') for rank in range(2)]
    first, second = (rank['local'] for rank in ranks)
    assert all(equal(rank['again'], rank['local']) for rank in ranks)  # the same proposals drawn
    assert not equal(first, second)
    mean = {name: (first[name] + second[name]) / 2 for name in first}
    for rank in ranks:
        torch.testing.assert_close(rank['synchronized'], mean, rtol=1e-5, atol=1e-7)
    assert any('adapters' in name and grad.any() for name, grad in mean.items())


def test_parameters_stay_equal_on_both_ranks(whole):
    start, *ends = (torch.load(whole / f'{name}.pth') for name in ('start_rank0', *END))
    assert equal(*ends)
    assert not equal(start, ends[0])


def test_resumed_run_equals_the_uninterrupted_one(mask_rcnn, whole, launch, tmp_path):
    middle = whole / 'iter_2.pth'
    printed = launch(
        'dist_train.sh', mask_rcnn, '2', '--work-dir', str(tmp_path), '--resume', str(middle)
    )
    assert 'resumes exactly: random states of 2 rank(s)' in printed
    assert equal(*(torch.load(path / f'{END[1]}.pth') for path in (whole, tmp_path)))
    one, two = (torch.load(path / 'iter_4.pth', weights_only=False) for path in (whole, tmp_path))
    torch.testing.assert_close(one['optimizer']['state'], two['optimizer']['state'], rtol=0, atol=0)
    assert_same_random_states(one['random_states'], two['random_states'])


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def assert_same_random_states(one: list[dict], other: list[dict]) -> None:
    """Two ranks each, which have drawn differently: a mix-up would show."""
    assert len(one) == len(other) == 2
    assert not torch.equal(one[0]['torch'], one[1]['torch'])
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine['torch'], theirs['torch'])
        assert mine['python'] == theirs['python'] and mine['numpy'] == theirs['numpy']
