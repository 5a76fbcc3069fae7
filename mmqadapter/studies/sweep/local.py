"""Queue of trainings that run side by side on one machine."""

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
    """Observer of a queue's progress."""

    def begin(self, title: str, count: int) -> None:
        """Note that ``count`` trainings of one purpose are queued."""

    def ended(self, outcome: Outcome) -> None:
        """Note that one of them has ended."""


class LocalQueue:
    """Queue that runs as many trainings at a time as it has slots.

    Args:
        train: Function that runs one training in a slot.
        slots: Slots of the machine, one or more.
        observer: Observer of the progress.
    """

    def __init__(self, train: TrainOne, slots: Sequence[ResourceSlot], observer: Observer) -> None:
        self._train, self._jobs, self._observer = train, len(slots), observer
        self._free_slots = SimpleQueue[ResourceSlot]()
        for slot in slots:
            self._free_slots.put(slot)

    def __call__(self, title: str, trainings: Sequence[Training]) -> list[Outcome]:
        """Run trainings and return their outcomes in the same order.

        An interruption cancels those that have not begun and waits for the others to stop.
        """
        self._observer.begin(title, len(trainings))
        pool = ThreadPoolExecutor(self._jobs)
        try:
            futures = [pool.submit(self._train_in_free_slot, training) for training in trainings]
            for future in as_completed(futures):
                self._observer.ended(future.result())
        finally:
            pool.shutdown(cancel_futures=True)
        return [future.result() for future in futures]

    def _train_in_free_slot(self, training: Training) -> Outcome:
        slot = self._free_slots.get()
        try:
            return self._train(training, slot)
        finally:
            self._free_slots.put(slot)
