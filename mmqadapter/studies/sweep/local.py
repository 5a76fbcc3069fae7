"""Trainings side by side on one machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from typing import Protocol

from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.training import Training

TrainOne = Callable[[Training, ResourceSlot], Outcome]


class Observer(Protocol):
    """Is told how a queue gets on."""

    def begin(self, title: str, count: int) -> None:
        """``count`` trainings with a purpose in common begin."""

    def ended(self, outcome: Outcome) -> None:
        """One of them has ended."""


class LocalQueue:
    """Trains as many at a time as there are shares of the machine.

    Args:
        train: Trains one, on a share.
        shares: One or more.
        observer: Is told of each.
    """

    def __init__(self, train: TrainOne, shares: Sequence[ResourceSlot], observer: Observer) -> None:
        self._train, self._jobs, self._observer = train, len(shares), observer
        self._free = SimpleQueue[ResourceSlot]()
        for share in shares:
            self._free.put(share)

    def __call__(self, title: str, trainings: Sequence[Training]) -> list[Outcome]:
        """Outcomes in the order of ``trainings``.

        An interruption drops those that have not begun, and waits for the others to stop.
        """
        self._observer.begin(title, len(trainings))
        pool = ThreadPoolExecutor(self._jobs)
        try:
            futures = [pool.submit(self._train_on_free_share, training) for training in trainings]
            for future in as_completed(futures):
                self._observer.ended(future.result())
        finally:
            pool.shutdown(cancel_futures=True)
        return [future.result() for future in futures]

    def _train_on_free_share(self, training: Training) -> Outcome:
        share = self._free.get()
        try:
            return self._train(training, share)
        finally:
            self._free.put(share)
