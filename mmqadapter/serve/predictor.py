"""Predictor of a page: one uploaded image, one or several tasks, with overlays and times."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from mmqadapter.inference.bank import MultiTaskModel, runs_once
from mmqadapter.inference.bank.slots import frozen_tensors
from mmqadapter.inference.image_errors import guarded_step
from mmqadapter.inference.image_pipeline import ImagePipeline
from mmqadapter.inference.predict import check_score
from mmqadapter.inference.prediction import plain_prediction
from mmqadapter.serve.class_rows import ClassRow, class_rows
from mmqadapter.serve.reduced import reduce
from mmqadapter.serve.served_tasks import ServedTasks
from mmqadapter.serve.uploads import UploadLimits

CACHED = 16  # choices of tasks whose models are kept
Step = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class TaskResult:
    """The prediction of one task for an image.

    Attributes:
        overlay: The image with the prediction, uint8 (h, w, 3), RGB: reduced to the size of a
            screen, or enlarged if it is small and has instances.
        rows: What was found of each class.
    """

    overlay: np.ndarray
    rows: list[ClassRow]


@dataclass(frozen=True)
class Answer:
    """Predictions of tasks for one image.

    Attributes:
        size: Width and height of the image in pixels.
        seconds: Time of each run of the network, by the tasks that it was for. Preparing the
            image and drawing do not count.
        results: By task.
    """

    size: tuple[int, int]
    seconds: dict[tuple[str, ...], float]
    results: dict[str, TaskResult]


class Predictor:
    """Predictor of one image at a time; calls from several threads wait for each other.

    On a highway without blocks in path the trunk runs once for all tasks of a call.

    Args:
        tasks: The tasks.
        limits: What images are accepted.

    Attributes:
        tasks: The tasks by name.
        refused: Why a task file was refused, by name.

    Raises:
        ValueError: The config of the model has no test transforms.
    """

    def __init__(self, tasks: ServedTasks, limits: UploadLimits | None = None) -> None:
        self.limits = limits or UploadLimits()
        self.refused = tasks.refused
        self.tasks, self._bank = tasks.accepted, tasks.bank
        self._pipeline = ImagePipeline(cast(Any, self._bank.model).cfg)
        self._lock = threading.Lock()
        # The copies of the model share all tensors.
        self._model_of_several = lru_cache(CACHED)(partial(MultiTaskModel, self._bank))

    @property
    def shares_trunk(self) -> bool:
        """True if the trunk runs once for all tasks of a call."""
        return runs_once(self._bank.model)

    @property
    def finds_instances(self) -> bool:
        """True if a threshold for scores makes a difference: not for segmentors of mmseg."""
        return not hasattr(self._bank.model, 'decode_head')

    @property
    def trunk_nbytes(self) -> int:
        """Bytes of the frozen trunk in memory."""
        tensors = {id(tensor): tensor for tensor in frozen_tensors(self._bank.model)}
        return sum(tensor.nbytes for tensor in tensors.values())

    @property
    def device(self) -> torch.device:
        """The device that the tasks run on."""
        return next(frozen_tensors(self._bank.model)).device

    @torch.no_grad()
    def predict(self, image: Path, names: Sequence[str], score_thr: float = 0.3) -> Answer:
        """Predict an image with one or several tasks.

        Args:
            image: The image file.
            names: Names of tasks.
            score_thr: Instances below this score (0 to 1) are left out.

        Raises:
            ImageError: The image is too large, or cannot be read or predicted.
            ValueError: ``names`` is empty or has an unknown name, or the threshold is invalid.
        """
        chosen = self._chosen(names)
        check_score(score_thr)
        self.limits.check(image)
        with self._lock:
            return self._answer(image, chosen, score_thr)

    def wait(self) -> None:
        """Wait until no prediction runs: a process that ends during one aborts."""
        with self._lock:
            return

    def _chosen(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the names in the order of the command line."""
        if not names or not set(names) <= set(self.tasks):
            raise ValueError(
                f'tasks={list(names)!r} is invalid: expected one or more of '
                f'{", ".join(map(repr, self.tasks))}.'
            )
        return tuple(name for name in self.tasks if name in names)

    def _answer(self, image: Path, names: tuple[str, ...], score_thr: float) -> Answer:
        prepared = self._pipeline(image)
        seconds, results = {}, {}
        for group, step in self._steps(names):
            started = time.perf_counter()
            samples = guarded_step(step, prepared.batch)
            seconds[group] = time.perf_counter() - started
            for name, sample in samples.items():
                results[name] = self._result(name, image, sample, prepared.pixels, score_thr)
        height, width = prepared.pixels.shape[:2]
        return Answer((width, height), seconds, results)

    def _result(
        self, name: str, image: Path, sample: Any, pixels: np.ndarray, score_thr: float
    ) -> TaskResult:
        task = self.tasks[name]
        prediction = plain_prediction(image, sample, score_thr)
        overlay = task.painter.draw(*reduce(sample, pixels, score_thr), score_thr)
        return TaskResult(overlay, class_rows(prediction, sample, task.meta))

    def _steps(self, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Step]]:
        """Yield the runs of the network: the tasks that each is for, and its function."""
        if self.shares_trunk:
            yield names, partial(_together, self._model_of_several(names))
            return
        for name in names:
            self._bank.use(name)
            yield (name,), partial(_alone, self._bank.model, name)


def _together(model: MultiTaskModel, batch: dict[str, Any]) -> dict[str, Any]:
    return {name: sample.cpu() for name, (sample, *_) in model.test_step(batch).items()}


def _alone(model: Any, name: str, batch: dict[str, Any]) -> dict[str, Any]:
    (sample, *_) = model.test_step(copy.deepcopy(batch))
    return {name: sample.cpu()}
