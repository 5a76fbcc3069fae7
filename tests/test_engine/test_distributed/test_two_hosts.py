"""Two hosts with one process each train as one host with two."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
import torch
from two_hosts import CABLE, Host, obstacle, two_hosts

pytest.importorskip('mmseg')
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('two_ranks')]
MINUTE = 60


@pytest.fixture
def hosts():
    """Two hosts; skips where this machine cannot play them."""
    if reason := obstacle():
        pytest.skip(reason)
    with two_hosts() as pair:
        yield pair


def test_equals_one_host_with_two_processes(hosts, upernet, two_ranks, start, tmp_path):
    runs = [start_on(host, number, hosts, start, upernet, tmp_path)
            for number, host in enumerate(hosts)]  # fmt: skip
    printed = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], '\n'.join(text[-3000:] for text in printed)
    for rank in range(2):
        one, other = (torch.load(path / f'end_rank{rank}.pth') for path in (tmp_path, two_ranks))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    task = 'last.task.safetensors'
    assert (tmp_path / task).read_bytes() == (two_ranks / task).read_bytes()


def test_a_host_whose_process_is_killed_ends_the_other(hosts, killed, start, tmp_path):
    first, second = (
        start_on(host, number, hosts, start, killed, tmp_path) for number, host in enumerate(hosts)
    )
    lost = second.communicate(timeout=300)[0].strip().splitlines()[-1]
    assert lost.startswith('The process of rank 1 ') and 'was killed (SIGKILL)' in lost
    left = first.communicate(timeout=MINUTE)[0].strip().splitlines()[-1]
    assert time.time() - float((tmp_path / 'killed').read_text()) < MINUTE
    assert left.startswith('The process of rank 0 ') and 'another machine' in left


def start_on(
    host: Host, number: int, hosts: tuple[Host, Host], start, config: str, work_dir: Path
) -> subprocess.Popen:
    """Begin the run of one process on a host, as docs/training_on_clusters.md says."""
    meeting = dict(NNODES='2', NODE_RANK=str(number), MASTER_ADDR=hosts[0].address, PORT='29500',
                   GLOO_SOCKET_IFNAME=CABLE)  # fmt: skip
    words = ['dist_train.sh', config, '1', '--work-dir', str(work_dir)]
    return start(*words, prefix=host.prefix, variables=meeting)
