"""Pictures of the predictions of all methods on the same validation images."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image

from mmqadapter.inference import load_model, predict
from mmqadapter.studies.report.page import Samples
from mmqadapter.studies.sweep.plan import Sweep
from mmqadapter.studies.sweep.schedule import Results
from mmqadapter.studies.sweep.validation_samples import (
    Annotation,
    Instance,
    Sample,
    to_annotation,
    validation_samples,
)

WIDTH = 360  # pixels of a picture, twice its width on the page
IGNORED = 255
FRAME = 12  # parts of the shorter side; one is the width of the frame of a class
BLANK = 236  # gray of pixels without a class, and of the background without photos
Palette = Sequence[Sequence[int]]
Meta = dict[str, Any]  # classes and palette


def make_samples(sweep: Sweep, names: Sequence[str], results: Results) -> Samples | None:
    """Make pictures of some validation images, their ground truth and each method's predictions.

    Errors are logged and not raised: the report of a long sweep must not fail for its pictures.

    Args:
        sweep: Plan of the sweep.
        names: Names of the methods.
        results: Results of the sweep; each method predicts with its first successful seed.

    Returns:
        None if the sweep asks for no samples, no training succeeded or no model could predict.
    """
    try:
        return _make_samples(sweep, names, results)
    except Exception as error:
        print_log(f'The report shows no predictions: {error!r}', logger='current')
        return None


def _make_samples(sweep: Sweep, names: Sequence[str], results: Results) -> Samples | None:
    folders = {name: folder for name in names if (folder := _folder(name, results)) is not None}
    if not sweep.samples or not folders:
        return None
    samples = validation_samples(sweep.config, sweep.samples)
    predictions = {name: _predict(folder, samples) for name, folder in folders.items()}
    meta = next((meta for meta, _ in predictions.values() if meta), None)
    if meta is None:
        return None
    columns: dict[str, Sequence[Annotation | None]] = {
        'ground truth': [sample.truth for sample in samples]
    }
    columns.update({name: predicted for name, (_, predicted) in predictions.items()})
    rows = []
    for sample, *row in zip(samples, *columns.values(), strict=True):
        pictures = _pictures(sample, row, meta['palette'], sweep.photos)
        rows.append((sample.path.name, list(pictures)))
    colors = ['#{:02x}{:02x}{:02x}'.format(*color) for color in meta['palette']]
    classes = list(zip(meta['classes'], colors, strict=True))
    return Samples([*(['image'] if sweep.photos else []), *columns], rows, classes)


def _folder(name: str, results: Results) -> Path | None:
    """Return the folder of the first successful training of a method."""
    for outcome in results.trained:
        if outcome.training.method == name and outcome.result and outcome.log:
            return outcome.log.parent
    return None


def _weights(work: Path) -> Path:
    """Return the path of a training's task file, or of its checkpoint in full fine-tuning."""
    task = work / 'last.task.safetensors'
    return task if task.is_file() else Path((work / 'last_checkpoint').read_text().strip())


def _predict(folder: Path, samples: Sequence[Sample]) -> tuple[Meta, Sequence[Annotation | None]]:
    """Return meta information and predictions of a model; an error is logged and gives none."""
    try:
        model: Any = load_model(folder / 'config.py', _weights(folder / 'work_dir'))
        predictions = predict(model, None, [sample.path for sample in samples])
    except Exception as error:  # the other methods are shown nevertheless
        print_log(f'The report shows no predictions of {folder.name}: {error!r}', logger='current')
        return {}, [None] * len(samples)
    return model.dataset_meta, [to_annotation(prediction) for prediction in predictions]


def _pictures(
    sample: Sample, annotations: Sequence[Annotation | None], palette: Palette, photos: bool
) -> Iterator[bytes | None]:
    background = sample.pixels if photos else np.full_like(sample.pixels, BLANK)
    if photos:
        yield _webp(sample.pixels)
    for annotation in annotations:
        if annotation is None:
            yield None
        else:
            yield _webp(draw_annotation(background, annotation, palette, photos))


def draw_annotation(
    background: np.ndarray, annotation: Annotation, palette: Palette, photos: bool
) -> np.ndarray:
    """Draw a label map in colors, instances as outlines, or the color of a class as a frame.

    Args:
        background: Image to draw on, (H, W, 3), RGB, uint8; it is not changed.
        annotation: Annotation to draw.
        palette: Color (R, G, B) of each class.
        photos: Blend the colors of a label map with the background.
    """
    picture = background.copy()
    if annotation.labels is not None:
        picture = _color_labels(annotation.labels, palette)
        picture = cv2.addWeighted(picture, 0.6, background, 0.4, 0) if photos else picture
    thickness = max(1, round(min(background.shape[:2]) / 200))
    for instance in annotation.instances:
        color = [int(channel) for channel in palette[instance.label]]
        _outline(picture, instance, color, thickness)
    if annotation.image_class is not None:
        color = [int(channel) for channel in palette[annotation.image_class]]
        height, width = picture.shape[:2]
        frame = max(2, min(height, width) // FRAME)
        cv2.rectangle(picture, (0, 0), (width - 1, height - 1), color, frame)
    return picture


def _color_labels(labels: np.ndarray, palette: Palette) -> np.ndarray:
    colors = np.full((IGNORED + 1, 3), BLANK, np.uint8)
    colors[: len(palette)] = palette
    return colors[labels]


def _outline(picture: np.ndarray, instance: Instance, color: list[int], thickness: int) -> None:
    if instance.mask is None:
        left, top, right, bottom = (round(edge) for edge in instance.box)
        cv2.rectangle(picture, (left, top), (right, bottom), color, thickness)
        return
    mask = np.ascontiguousarray(instance.mask, np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, contours, -1, color, thickness)


def _webp(picture: np.ndarray) -> bytes:
    height = round(WIDTH * picture.shape[0] / picture.shape[1])
    file = io.BytesIO()
    Image.fromarray(picture).resize((WIDTH, height)).save(file, 'WEBP', quality=80)
    return file.getvalue()
