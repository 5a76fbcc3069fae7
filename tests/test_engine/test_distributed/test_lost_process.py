"""A killed process ends the run at once with a remedy, and the resumed run is exact."""

from __future__ import annotations

import time

import pytest
import torch

pytest.importorskip('mmseg')
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('two_ranks')]
MINUTE = 60


def test_a_lost_process_ends_all_and_resuming_is_exact(
    killed, upernet, two_ranks, launch, launch_to_fail, tmp_path
):
    printed = launch_to_fail('dist_train.sh', killed, '2', '--work-dir', str(tmp_path))
    assert time.time() - float((tmp_path / 'killed').read_text()) < MINUTE
    last = printed.strip().splitlines()[-1]
    assert last.startswith('The process of rank 1 ') and 'was killed (SIGKILL)' in last
    assert '--resume' in last
    printed = launch('dist_train.sh', upernet, '2', '--work-dir', str(tmp_path), '--resume')
    assert 'resumes exactly: random states of 2 rank(s)' in printed
    for rank in range(2):
        resumed, whole = (torch.load(p / f'end_rank{rank}.pth') for p in (tmp_path, two_ranks))
        assert resumed.keys() == whole.keys()
        assert all(torch.equal(resumed[name], whole[name]) for name in whole)
