"""Prediction of one task on images."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from rich.progress import track
from torch import nn

from mmqadapter.engine.data_configs import leaf_configs
from mmqadapter.inference.images import find_images, read_image
from mmqadapter.inference.model import load_model, switch_task
from mmqadapter.inference.prediction import Prediction, plain_prediction
from mmqadapter.inference.writers import ResultWriter

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
    """Predict labels or instances of images, and write them to ``out`` if it is given.

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
        ValueError: An image cannot be read, or the weights do not fit.
    """
    check_score(score_thr)
    paths = find_images([images] if isinstance(images, (str, os.PathLike)) else images)
    model = _loaded_model(config, task, device, cfg_options, trust)
    writers = {} if out is None else {ONLY_TASK: ResultWriter(out, paths, model.dataset_meta)}

    def step(data: dict[str, Any]) -> dict[str, list]:
        return {ONLY_TASK: model.test_step(data)}

    predictions = predict_images(step, model.cfg, paths, writers, score_thr, progress)
    return predictions.get(ONLY_TASK, [])


def check_score(score_thr: float) -> None:
    """Check a threshold for scores.

    Raises:
        ValueError: It is not a number from 0 to 1.
    """
    if not 0 <= score_thr <= 1:
        raise ValueError(f'score_thr={score_thr} is invalid: expected a number from 0 to 1.')


@torch.no_grad()
def predict_images(
    step: Callable[[dict], dict[str, list]],
    cfg: Config,
    paths: Sequence[Path],
    writers: Mapping[str, ResultWriter],
    score_thr: float,
    progress: bool,
) -> dict[str, list[Prediction]]:
    """Predict image by image with one or several tasks.

    Args:
        step: Function from a batch to its data samples by task.
        cfg: Config whose test transforms prepare an image.
        paths: The images.
        writers: By task; predictions of a task without a writer are not written.
        score_thr: Instances below this score (0 to 1) are left out.
        progress: Show a progress bar.

    Returns:
        By task, one prediction per image.

    Raises:
        ValueError: An image cannot be read or predicted.
    """
    pipeline = _pipeline(cfg)
    predictions: dict[str, list[Prediction]] = defaultdict(list)
    for path in track(paths, 'Predicting', disable=not progress):
        pixels = read_image(path)
        data = pseudo_collate([pipeline(dict(img_path=str(path), img_id=0))])
        with _image_named(path):
            samples = step(data)
        for name, (sample, *_) in samples.items():
            predictions[name].append(plain_prediction(path, sample.cpu(), score_thr))
            if name in writers:
                writers[name].write(predictions[name][-1], sample.cpu(), pixels, score_thr)
    for name, writer in writers.items():
        writer.finish(predictions[name])
    return dict(predictions)


@contextmanager
def _image_named(path: Path) -> Iterator[None]:
    """Put the image's name into errors of the model."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ValueError(
            f'{str(path)!r} cannot be predicted ({error}); it may be too small or too narrow.'
        ) from error


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


def _pipeline(cfg: Config) -> Compose:
    """Return the test transforms of the config, without those that load annotations."""
    if not cfg.get('test_dataloader'):
        raise ValueError(
            'the config has no test_dataloader: its dataset has to name the transforms that '
            'prepare an image.'
        )
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    leaf, _ = next(leaf_configs(cfg.test_dataloader.dataset))
    transforms = [t for t in leaf['pipeline'] if not _loads_annotations(t['type'])]
    return Compose(transforms)


def _loads_annotations(kind: str | type) -> bool:
    name = kind if isinstance(kind, str) else kind.__name__
    name = name.rpartition('.')[2]
    return name.startswith('Load') and 'Annotation' in name
