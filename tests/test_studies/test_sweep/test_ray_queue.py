"""Trainings on a Ray cluster of two workers on this machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sweeps import Silent

from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.ray_queue import RayQueue
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.training import SEED, Training

ray = pytest.importorskip('ray', reason='Ray is optional: pip install ray')
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('ray')]


class NodeReporter:
    """Trainer that returns its node; the first training of seed 3 kills its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, training: Training, slot: ResourceSlot) -> Outcome:
        died = self.folder / 'died'
        if training.seed == 3 and not died.exists():
            died.touch()
            os._exit(1)
        # Seeds 0 and 1 wait for each other, so that both workers have to train.
        (self.folder / str(training.seed)).touch()
        while training.seed < 2 and len(list(self.folder.glob('[01]'))) < 2:
            time.sleep(0.1)
        node = ray.get_runtime_context().get_node_id()
        result = {'score': float(training.seed), 'node': node, 'threads': slot.threads}
        return Outcome(training, result)


@pytest.fixture(scope='module')
def address() -> Iterator[str]:
    """Address of a cluster of two nodes with one core each."""
    from ray.cluster_utils import Cluster

    os.environ.update(RAY_USAGE_STATS_ENABLED='0', RAY_worker_niceness='0')
    # Workers cannot import this file.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster = Cluster()
    for _ in range(2):
        cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=80 * 2**20)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def trainings(count: int) -> list[Training]:
    return [Training(SEED, 'frozen', seed, Length(20), 0.1, None) for seed in range(count)]


def test_both_workers_train_and_a_killed_one_is_replaced(address: str, tmp_path: Path) -> None:
    observer = Silent()
    queue = RayQueue(NodeReporter(tmp_path), address, 1, 0, observer)
    outcomes = queue('seeds', trainings(5))
    assert [o.training for o in outcomes] == trainings(5)
    results = [o.result for o in outcomes if o.result is not None]
    assert [r['score'] for r in results] == [0, 1, 2, 3, 4]
    assert results[0]['node'] != results[1]['node'] and {r['threads'] for r in results} == {1}
    assert observer.begun == [('seeds', 5)] and len(observer.outcomes) == 5
    assert (tmp_path / 'died').exists()
    assert queue('none', []) == []


def test_more_resources_than_a_machine_has_are_refused(address: str) -> None:
    with pytest.raises(
        ValueError, match=r'2 cores and 0 GPUs.*available: 1 cores and 0 GPUs, 1 co'
    ):
        RayQueue(NodeReporter(Path()), address, 2, 0, Silent())


def test_the_error_without_ray_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ValueError, match='pip install "ray'):
        RayQueue(NodeReporter(Path()), 'auto', 1, 0, Silent())
