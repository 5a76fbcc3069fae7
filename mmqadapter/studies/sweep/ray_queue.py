"""Queue of trainings on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmqadapter.studies.sweep.local import Observer, TrainOne
from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.training import Training


class RayQueue:
    """Queue that runs as many trainings at a time as the cluster has resources for.

    All machines need this package and the sweep's folder under the same path. If a machine is lost,
    Ray restarts its trainings on others, where they resume from their checkpoints.

    Args:
        train: Function that runs one training in a slot; it has to be picklable.
        address: Address of the cluster, such as ``'ray://head:10001'``; ``'auto'`` for the cluster
            of this machine, ``'local'`` to start one on this machine.
        cpus: CPU cores of a training.
        gpus: GPUs of a training; may be a fraction.
        observer: Observer of the progress.

    Raises:
        ValueError: Ray is not installed, the cluster cannot be reached, or no machine of it has
            these resources.
    """

    def __init__(
        self, train: TrainOne, address: str, cpus: int, gpus: float, observer: Observer
    ) -> None:
        self._ray = _connect(address)
        _require_resources(self._ray, cpus, gpus)
        options = dict(num_cpus=cpus, num_gpus=gpus, max_retries=3, scheduling_strategy='SPREAD')
        remote = self._ray.remote(**options)
        self._call, self._train = remote(_call), self._ray.put(train)
        # Ray sets the visible GPUs of each worker, so the slot does not.
        self._slot, self._observer = ResourceSlot(cpus), observer

    def __call__(self, title: str, trainings: Sequence[Training]) -> list[Outcome]:
        """Run trainings and return their outcomes in order; an interruption stops running ones."""
        self._observer.begin(title, len(trainings))
        tasks = [self._call.remote(self._train, training, self._slot) for training in trainings]
        waiting = list(tasks)
        try:
            while waiting:
                (done, *_), waiting = self._ray.wait(waiting)
                self._observer.ended(self._ray.get(done))
        finally:
            for task in waiting:
                self._ray.cancel(task, force=True)
        return self._ray.get(tasks)


def _call(train: TrainOne, training: Training, slot: ResourceSlot) -> Outcome:
    return train(training, slot)


def _connect(address: str) -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError(
            '--ray needs Ray, which is not installed; run pip install "ray>=2.40" on every machine.'
        ) from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except ConnectionError as error:
            raise ValueError(
                f'--ray {address}: no cluster can be reached ({error}); start one with `ray start '
                '--head`, or use --ray local.'
            ) from None
    return ray


def _require_resources(ray: Any, cpus: int, gpus: float) -> None:
    machines = [node['Resources'] for node in ray.nodes() if node['Alive']]
    if not any(m.get('CPU', 0) >= cpus and m.get('GPU', 0) >= gpus for m in machines):
        available = ', '.join(
            f'{m.get("CPU", 0):g} cores and {m.get("GPU", 0):g} GPUs' for m in machines
        )
        raise ValueError(
            f'no machine of the cluster has the {cpus} cores and {gpus:g} GPUs of a training '
            f'(available: {available}); change --cpus-per-training and --gpus-per-training.'
        )
