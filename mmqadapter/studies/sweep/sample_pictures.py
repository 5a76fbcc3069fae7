"""Predictions of all methods on the same validation images, side by side."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
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
    Sample,
    predicted,
    validation_samples,
)

WIDTH = 360  # pixels of a picture, two for each of the page
IGNORED = 255
BLANK = 236  # grey of what has no class, and of the ground where photos are left out
Palette = Sequence[Sequence[int]]
Meta = dict[str, Any]  # classes and palette


def make_samples(sweep: Sweep, names: Sequence[str], results: Results) -> Samples | None:
    """Pictures of some validation images, of their truth, and of what each method sees in them.

    Args:
        sweep: The sweep.
        names: Of the methods.
        results: With the folders of the trainings; a method's first seed that has one is taken.

    Returns:
        None where the sweep wants none, no training left its weights, or none of them could
        predict. Whatever goes wrong costs the pictures alone, with a line in the log.
    """
    try:
        return _samples(sweep, names, results)
    except Exception as error:  # the report stands for hours of training
        print_log(f'no predictions are shown: {error!r}', logger='current')
        return None


def _samples(sweep: Sweep, names: Sequence[str], results: Results) -> Samples | None:
    folders = {name: folder for name in names if (folder := _folder(name, results)) is not None}
    if not sweep.samples or not folders:
        return None
    samples = validation_samples(sweep.config, sweep.samples)
    seen = {name: _seen(folder, samples) for name, folder in folders.items()}
    meta = next((meta for meta, _ in seen.values() if meta), None)
    if meta is None:
        return None
    columns: dict[str, Sequence[Annotation | None]] = {
        'truth': [sample.truth for sample in samples]
    }
    columns.update({name: contents for name, (_, contents) in seen.items()})
    rows = [
        (sample.path.name, list(_pictures(sample, number, columns, meta['palette'], sweep.photos)))
        for number, sample in enumerate(samples)
    ]
    colours = ['#{:02x}{:02x}{:02x}'.format(*colour) for colour in meta['palette']]
    classes = list(zip(meta['classes'], colours, strict=True))
    return Samples([*(['image'] if sweep.photos else []), *columns], rows, classes)


def _folder(name: str, results: Results) -> Path | None:
    """Folder of a finished training of a method."""
    for one in results.trained:
        if one.training.method == name and one.result is not None and one.log is not None:
            return one.log.parent
    return None


def _weights(work: Path) -> Path:
    """The task file of a training, or its checkpoint where nothing is frozen."""
    task = work / 'last.task.safetensors'
    return task if task.is_file() else Path((work / 'last_checkpoint').read_text().strip())


def _seen(folder: Path, samples: Sequence[Sample]) -> tuple[Meta, Sequence[Annotation | None]]:
    """Classes of a trained model, and what it sees; nothing, and a line in the log, if it fails."""
    try:
        model: Any = load_model(folder / 'config.py', _weights(folder / 'work_dir'))
        found = predict(model, None, [sample.path for sample in samples])
    except Exception as error:  # whatever it is, it must not cost the report
        print_log(f'{folder.name}: no predictions are shown: {error!r}', logger='current')
        return {}, [None] * len(samples)
    return model.dataset_meta, [predicted(one) for one in found]


def _pictures(
    sample: Sample,
    number: int,
    columns: Mapping[str, Sequence[Annotation | None]],
    palette: Palette,
    photos: bool,
) -> Iterator[bytes | None]:
    ground = sample.pixels if photos else np.full_like(sample.pixels, BLANK)
    if photos:
        yield _webp(sample.pixels)
    for contents in columns.values():
        content = contents[number]
        yield None if content is None else _webp(draw_content(ground, content, palette, photos))


def draw_content(
    ground: np.ndarray, content: Annotation, palette: Palette, photos: bool
) -> np.ndarray:
    """Picture of labels as colours, of instances as outlines.

    Args:
        ground: What to draw on, (H, W, 3) bytes, RGB.
        content: What to draw.
        palette: Colour (R, G, B) of each class.
        photos: Let the ground show through the colours of labels.
    """
    picture = ground.copy()
    if content.labels is not None:
        colours = np.full((IGNORED + 1, 3), BLANK, np.uint8)
        colours[: len(palette)] = palette
        picture = cv2.addWeighted(colours[content.labels], 0.6, ground, 0.4, 0)
        picture = picture if photos else colours[content.labels]
    thickness = max(1, round(min(ground.shape[:2]) / 200))
    for thing in content.things:
        colour = [int(part) for part in palette[thing.label]]
        if thing.mask is None:
            left, top, right, bottom = (round(edge) for edge in thing.box)
            cv2.rectangle(picture, (left, top), (right, bottom), colour, thickness)
        else:
            mask = np.ascontiguousarray(thing.mask, np.uint8)
            outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            cv2.drawContours(picture, outlines, -1, colour, thickness)
    return picture


def _webp(picture: np.ndarray) -> bytes:
    height = round(WIDTH * picture.shape[0] / picture.shape[1])
    file = io.BytesIO()
    Image.fromarray(picture).resize((WIDTH, height)).save(file, 'WEBP', quality=80)
    return file.getvalue()
