"""Prediction of several tasks on the same images, with one trunk in memory.

On a highway the trunk also runs only once for each image.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config

from mmqadapter.checkpoints.load import dataset_meta
from mmqadapter.inference.bank import MultiTaskModel, TaskBank, runs_once
from mmqadapter.inference.images import find_images
from mmqadapter.inference.model import load_model, name_classes
from mmqadapter.inference.predict import check_score
from mmqadapter.inference.prediction import Prediction
from mmqadapter.inference.settings import settings_digest
from mmqadapter.inference.stream import Run, predict_images
from mmqadapter.inference.writers import ResultWriter, check_folder

SUFFIXES = ('.safetensors', '.task')


def predict_tasks(
    config: Config | str | os.PathLike,
    tasks: Sequence[str | os.PathLike],
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    score_thr: float = 0.3,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    progress: bool = False,
) -> dict[str, list[Prediction]]:
    """Predict a few images with each of several task files; write each into its own folder.

    All predictions are in memory at the end; for many images use :func:`iter_task_predictions`.

    Args:
        config: The config that the tasks were trained with.
        tasks: Task files of one trunk, tuning config and number of classes.
        images: Files, folders or globs.
        out: Folder for one folder per task, named like its file: ``cracks/`` for
            ``runs/cracks.task.safetensors``; see :func:`task_names`.
        score_thr: See :func:`mmqadapter.inference.predict`.
        device: See :func:`mmqadapter.inference.load_model`.
        cfg_options: See :func:`mmqadapter.inference.load_model`.
        progress: Show a progress bar.

    Returns:
        By task name, one prediction per image.

    Raises:
        FileNotFoundError: A file does not exist.
        FailedImagesError: Images cannot be read or predicted; raised once all others are written.
        ValueError: Two tasks have one name, or a task does not fit the model; this is checked
            before anything is predicted.
    """
    results: dict[str, list[Prediction]] = {name: [] for name in task_names(tasks)}
    for predictions in iter_task_predictions(
        config, tasks, images, out, score_thr=score_thr, device=device, cfg_options=cfg_options,
        progress=progress,
    ):  # fmt: skip
        for name, prediction in predictions.items():
            results[name].append(prediction)
    return results


def iter_task_predictions(
    config: Config | str | os.PathLike,
    tasks: Sequence[str | os.PathLike],
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    score_thr: float = 0.3,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    progress: bool = False,
    resume: bool = False,
) -> Iterator[dict[str, Prediction]]:
    """Predict image by image as :func:`predict_tasks`, with memory for one image at a time.

    Args:
        config: See :func:`predict_tasks`.
        tasks: See :func:`predict_tasks`.
        images: See :func:`predict_tasks`.
        out: See :func:`predict_tasks`.
        score_thr: See :func:`predict_tasks`.
        device: See :func:`predict_tasks`.
        cfg_options: See :func:`predict_tasks`.
        progress: See :func:`predict_tasks`.
        resume: See :func:`mmqadapter.inference.iter_predictions`; an image counts if the results
            of all tasks are there.

    Returns:
        Iterator over the predictions of an image, by task name.

    Raises:
        FileNotFoundError: A file does not exist.
        FailedImagesError: By the iterator at its end: images cannot be read or predicted.
        ValueError: See :func:`predict_tasks`.
    """
    check_score(score_thr)
    check_folder(out)
    files = task_names(tasks)
    names = [images] if isinstance(images, (str, os.PathLike)) else list(images)
    model: Any = load_model(config, tasks[0], device, cfg_options)
    bank = TaskBank(model)
    for name, task in files.items():
        bank.register(name, task)
    paths = find_images(names)
    writers = {}
    for name, task in files.items():
        name_classes(model, dataset_meta(bank.use(name)['dataset']), task)
        settings = settings_digest(task, model.cfg, score_thr)
        folder = Path(out, name)
        writers[name] = ResultWriter(folder, paths, model.dataset_meta, settings, resume)
    return predict_images(Run(_step(bank), model.cfg, paths, writers, score_thr, progress))


def _step(bank: TaskBank) -> Callable[[dict], dict[str, list]]:
    """Return a function that predicts all tasks of a batch, in one run of the trunk if possible."""
    if runs_once(bank.model):
        return MultiTaskModel(bank).test_step
    return partial(_predict_in_turn, bank)


def _predict_in_turn(bank: TaskBank, data: dict[str, Any]) -> dict[str, list]:
    samples, model = {}, cast(Any, bank.model)
    for name in bank.names:
        bank.use(name)
        samples[name] = model.test_step(copy.deepcopy(data))
    return samples


def task_names(tasks: Sequence[str | os.PathLike]) -> dict[str, str | os.PathLike]:
    """Return the task files by the names of their results.

    The name is that of the file, with the folder's before it where files have one name:
    ``cracks-best`` for ``runs/cracks/best.task.safetensors``.

    Raises:
        ValueError: ``tasks`` is empty, has a checkpoint, or two names differ in case at most,
            which some file systems ignore.
    """
    if not tasks:
        raise ValueError('tasks is empty: expected one or more task files.')
    for task in tasks:
        if Path(task).suffix != SUFFIXES[0]:
            raise ValueError(
                f'{str(task)!r} is not a task file (*.safetensors), which prediction of several '
                'tasks needs; export one from a checkpoint with mmqadapter task export.'
            )
    short = Counter(_result_name(task).lower() for task in tasks)
    names: dict[str, str | os.PathLike] = {}
    for task in tasks:
        name = _result_name(task)
        if short[name.lower()] > 1:  # as several best.task.safetensors have
            name = '-'.join(filter(None, (Path(task).absolute().parent.name, name)))
        if name.lower() in (earlier.lower() for earlier in names):
            raise ValueError(
                f'two tasks would write results called {name!r}; rename one of the files.'
            )
        names[name] = task
    return names


def _result_name(task: str | os.PathLike) -> str:
    name = Path(task).name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name
