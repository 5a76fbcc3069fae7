"""Prediction of several tasks on the same images, with one trunk in memory.

On a highway the trunk also runs only once for each image.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config

from mmqadapter.checkpoints.load import dataset_meta
from mmqadapter.inference.bank import MultiTaskModel, TaskBank, runs_once
from mmqadapter.inference.images import find_images
from mmqadapter.inference.model import load_model, name_classes
from mmqadapter.inference.predict import check_score, predict_images
from mmqadapter.inference.prediction import Prediction
from mmqadapter.inference.writers import ResultWriter

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
    """Predict with each of several task files, and write each into its own folder in ``out``.

    Args:
        config: The config that the tasks were trained with.
        tasks: Task files of one trunk, tuning config and number of classes.
        images: Files, folders or globs.
        out: Folder for one folder per task, named like its file: ``cracks/`` for
            ``runs/cracks.task.safetensors``.
        score_thr: See :func:`mmqadapter.inference.predict`.
        device: See :func:`mmqadapter.inference.load_model`.
        cfg_options: See :func:`mmqadapter.inference.load_model`.
        progress: Show a progress bar.

    Returns:
        By task name, one prediction per image.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: Two tasks have one name, or a task does not fit the model; this is checked
            before anything is predicted.
    """
    check_score(score_thr)
    files = task_names(tasks)
    names = [images] if isinstance(images, (str, os.PathLike)) else list(images)
    model: Any = load_model(config, tasks[0], device, cfg_options)
    bank = TaskBank(model)
    for name, task in files.items():
        bank.register(name, task)
    paths = find_images(names)
    metas = {}
    for name, task in files.items():
        name_classes(model, dataset_meta(bank.use(name)['dataset']), task)
        metas[name] = model.dataset_meta
    writers = {name: ResultWriter(Path(out, name), paths, meta) for name, meta in metas.items()}
    return predict_images(_step(bank), model.cfg, paths, writers, score_thr, progress)


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

    Raises:
        ValueError: ``tasks`` is empty, has a checkpoint, or has two names that differ in case at
            most, which some file systems ignore.
    """
    if not tasks:
        raise ValueError('tasks is empty: expected one or more task files.')
    names: dict[str, str | os.PathLike] = {}
    for task in tasks:
        if Path(task).suffix != SUFFIXES[0]:
            raise ValueError(
                f'{str(task)!r} is not a task file (*.safetensors), which prediction of several '
                'tasks needs; export one from a checkpoint with mmqadapter task export.'
            )
        name = Path(task).name
        for suffix in SUFFIXES:
            name = name.removesuffix(suffix)
        if name.lower() in (earlier.lower() for earlier in names):
            raise ValueError(
                f'two tasks would write results called {name!r}; rename one of the files.'
            )
        names[name] = task
    return names
