"""Prediction of one task on images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.config import Config
from torch import nn

from mmqadapter.inference.images import find_images
from mmqadapter.inference.model import load_model, switch_task
from mmqadapter.inference.prediction import Prediction
from mmqadapter.inference.settings import settings_digest
from mmqadapter.inference.stream import Run, predict_images
from mmqadapter.inference.writers import ResultWriter, check_folder

ONLY_TASK = ''  # name of the task where there is one


def predict(
    config: Config | str | os.PathLike | nn.Module,
    task: str | os.PathLike | None,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike | None = None,
    *,
    score_thr: float = 0.3,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    progress: bool = False,
    trust: bool = False,
) -> list[Prediction]:
    """Predict labels or instances of a few images, and write them to ``out`` if it is given.

    All predictions are in memory at the end; for many images use :func:`iter_predictions`.

    Args:
        config: The config that the task was trained with; or a model of :func:`load_model`, so
            that it need not be loaded again.
        task: A task file or a checkpoint; None for a model that has its task loaded.
        images: Files, folders or globs.
        out: Folder for ``overlays/``, and for ``labels/`` (8-bit PNG) or ``instances.json``.
        score_thr: Instances below this score (0 to 1) are left out.
        device: See :func:`load_model`.
        cfg_options: See :func:`load_model`.
        progress: Show a progress bar.
        trust: Read a checkpoint even if that may run code in it.

    Returns:
        One prediction per image.

    Raises:
        FileNotFoundError: A file does not exist.
        FailedImagesError: Images cannot be read or predicted; raised once all others are written.
        ValueError: The weights do not fit, or an argument is invalid.
    """
    return list(
        iter_predictions(
            config, task, images, out, score_thr=score_thr, device=device,
            cfg_options=cfg_options, progress=progress, trust=trust,
        )
    )  # fmt: skip


def iter_predictions(
    config: Config | str | os.PathLike | nn.Module,
    task: str | os.PathLike | None,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike | None = None,
    *,
    score_thr: float = 0.3,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    progress: bool = False,
    trust: bool = False,
    resume: bool = False,
) -> Iterator[Prediction]:
    """Predict image by image as :func:`predict`, with memory for one image at a time.

    The files of an image are complete when its prediction is yielded. Models and arguments are
    checked at once, before the first prediction is asked for.

    Args:
        config: See :func:`predict`.
        task: See :func:`predict`.
        images: See :func:`predict`.
        out: See :func:`predict`.
        score_thr: See :func:`predict`.
        device: See :func:`predict`.
        cfg_options: See :func:`predict`.
        progress: See :func:`predict`.
        trust: See :func:`predict`.
        resume: Leave out images whose results ``out`` has from the same weights, config and
            threshold; they are not yielded.

    Returns:
        Iterator over the predictions.

    Raises:
        FileNotFoundError: A file does not exist.
        FailedImagesError: By the iterator at its end: images cannot be read or predicted.
        ValueError: The weights do not fit, or an argument is invalid.
    """
    if resume and (out is None or task is None):
        raise ValueError(f'resume=True is invalid with out={out!r}, task={task!r}: give both.')
    check_score(score_thr)
    if out is not None:
        check_folder(out)
    paths = find_images([images] if isinstance(images, (str, os.PathLike)) else images)
    model = _loaded_model(config, task, device, cfg_options, trust)
    writers = {}
    if out is not None:
        settings = '' if task is None else settings_digest(task, model.cfg, score_thr)
        writers[ONLY_TASK] = ResultWriter(out, paths, model.dataset_meta, settings, resume)

    def step(data: dict[str, Any]) -> dict[str, list]:
        return {ONLY_TASK: model.test_step(data)}

    run = Run(step, model.cfg, paths, writers, score_thr, progress)
    return (predictions[ONLY_TASK] for predictions in predict_images(run))


def check_score(score_thr: float) -> None:
    """Check a threshold for scores.

    Raises:
        ValueError: It is not a number from 0 to 1.
    """
    if not 0 <= score_thr <= 1:
        raise ValueError(f'score_thr={score_thr} is invalid: expected a number from 0 to 1.')


def _loaded_model(
    config: Any, task: Any, device: str | None, cfg_options: dict | None, trust: bool
) -> Any:
    if not isinstance(config, nn.Module):
        if task is None:
            raise ValueError(
                'task=None is invalid with a config: expected a task file or a checkpoint.'
            )
        return load_model(config, task, device, cfg_options, trust)
    if task is not None:
        switch_task(config, task, trust)
    return config
