"""Trainings side by side on one machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol

from mmqadapter.sweep.outcome import Outcome
from mmqadapter.sweep.training import Training

TrainOne = Callable[[Training, int], Outcome]


class Observer(Protocol):
    """Is told how a queue gets on."""

    def begin(self, title: str, count: int) -> None:
        """``count`` trainings with a purpose in common begin."""

    def ended(self, outcome: Outcome) -> None:
        """One of them has ended."""


class LocalQueue:
    """Trains a number at a time; the cores are shared out between them.

    Args:
        train: Trains one, with so many threads.
        jobs: How many at a time, 1 or more.
        observer: Is told of each.
    """

    def __init__(self, train: TrainOne, jobs: int, observer: Observer) -> None:
        self._train, self._jobs, self._observer = train, jobs, observer

    def __call__(self, title: str, trainings: Sequence[Training]) -> list[Outcome]:
        """Outcomes in the order of ``trainings``.

        An interruption drops those that have not begun, and waits for the others to stop.
        """
        self._observer.begin(title, len(trainings))
        threads = max(1, (os.cpu_count() or 1) // self._jobs)
        pool = ThreadPoolExecutor(self._jobs)
        try:
            futures = [pool.submit(self._train, training, threads) for training in trainings]
            for future in as_completed(futures):
                self._observer.ended(future.result())
        finally:
            pool.shutdown(cancel_futures=True)
        return [future.result() for future in futures]
