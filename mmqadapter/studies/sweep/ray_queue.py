"""Trainings on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmqadapter.studies.sweep.local import Observer, TrainOne
from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.training import Training


class RayQueue:
    """Trains as many at a time as the cluster has room for.

    All machines see the sweep's folder under one path, and have this package. A machine that is
    lost costs its trainings of the moment: Ray starts them again elsewhere, from their checkpoints.

    Args:
        train: Trains one, on a share of a machine; can be pickled.
        address: Of the cluster, such as ``'ray://head:10001'``; ``'auto'`` for that of this
            machine, ``'local'`` for a new one on this machine.
        cpus: Cores that a training takes.
        gpus: GPUs that a training takes; a share of one is possible.
        observer: Is told of each.

    Raises:
        ValueError: Ray is not installed, there is no cluster, or none of its machines has so much.
    """

    def __init__(
        self, train: TrainOne, address: str, cpus: int, gpus: float, observer: Observer
    ) -> None:
        self._ray = _connected(address)
        _require_room(self._ray, cpus, gpus)
        options = dict(num_cpus=cpus, num_gpus=gpus, max_retries=3, scheduling_strategy='SPREAD')
        remote = self._ray.remote(**options)
        self._call, self._train = remote(_call), self._ray.put(train)
        # Ray itself says which GPUs a worker sees.
        self._share, self._observer = ResourceSlot(cpus), observer

    def __call__(self, title: str, trainings: Sequence[Training]) -> list[Outcome]:
        """Outcomes in the order of ``trainings``; an interruption stops those under way."""
        self._observer.begin(title, len(trainings))
        tasks = [self._call.remote(self._train, one, self._share) for one in trainings]
        waiting = list(tasks)
        try:
            while waiting:
                (done, *_), waiting = self._ray.wait(waiting)
                self._observer.ended(self._ray.get(done))
        finally:
            for task in waiting:
                self._ray.cancel(task, force=True)
        return self._ray.get(tasks)


def _call(train: TrainOne, training: Training, share: ResourceSlot) -> Outcome:
    return train(training, share)


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError(
            '--ray needs Ray, which is not installed: pip install "ray>=2.40" on every machine.'
        ) from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except ConnectionError as error:
            raise ValueError(
                f'--ray {address}: no cluster answers ({error}). Start one with `ray start '
                '--head`, or take --ray local.'
            ) from None
    return ray


def _require_room(ray: Any, cpus: int, gpus: float) -> None:
    machines = [node['Resources'] for node in ray.nodes() if node['Alive']]
    if not any(m.get('CPU', 0) >= cpus and m.get('GPU', 0) >= gpus for m in machines):
        most = ', '.join(
            f'{m.get("CPU", 0):g} cores and {m.get("GPU", 0):g} GPUs' for m in machines
        )
        raise ValueError(
            f'a training takes {cpus} cores and {gpus:g} GPUs, which no machine of the cluster has '
            f'(there are {most}); set --cpus-per-training and --gpus-per-training.'
        )
