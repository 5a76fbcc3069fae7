"""Writing of what training reads: COCO files, label maps and lists of names, beside the data."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from itertools import chain, count
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mmqadapter.own_data.formats.map_values import codes_of
from mmqadapter.own_data.geometry import polygon_area
from mmqadapter.own_data.samples import Box, Instance, LabeledImage, MaskPair, Sample
from mmqadapter.utils.atomic import atomic_write

IGNORED = 255


def write_coco(path: Path, samples: Sequence[Sample], classes: Sequence[str], root: Path) -> Path:
    """Write samples as a COCO JSON, and return its path; file names are relative to ``root``."""
    numbers = {name: number for number, name in enumerate(classes, 1)}
    images: list[dict] = []
    annotations: list[dict] = []
    for image_id, sample in enumerate(samples, 1):
        images.append(_image(image_id, sample, root))
        for instance in sample.instances:
            box = _clipped(instance.box, sample.size)
            annotation = annotation_of(instance, sample.size, box)
            ids = {'id': len(annotations) + 1, 'image_id': image_id}
            annotations.append({**ids, 'category_id': numbers[instance.label], **annotation})
    categories = [{'id': number, 'name': name} for name, number in numbers.items()]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    return _write_list(path, json.dumps(content))


def write_names(path: Path, names: Iterable[str]) -> Path:
    """Write a list of sample names, one per line, and return its path."""
    return _write_list(path, ''.join(f'{name}\n' for name in names))


def write_class_list(
    path: Path, images: Iterable[LabeledImage], classes: Sequence[str], root: Path
) -> Path:
    """Write a list of images with their class numbers, and return its path.

    File names are relative to ``root``.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    lines = (f'{i.image.relative_to(root).as_posix()} {numbers[i.label]}\n' for i in images)
    return _write_list(path, ''.join(lines))


def _write_list(path: Path, text: str) -> Path:
    """Write a list and return its path.

    If an earlier config of the same data reads another list of this name, which another seed makes,
    that one stays, and this one gets a number: ``val_2.txt``.
    """
    content, numbered = text.encode(), (path.with_stem(f'{path.stem}_{n}') for n in count(2))
    free = next(
        file
        for file in chain([path], numbered)
        if not file.exists() or file.read_bytes() == content
    )
    atomic_write(free, content)
    return free


def write_label_map(path: Path, pair: MaskPair, numbers: dict[int, int]) -> None:
    """Write the label map of a pair with class numbers; values not in ``numbers`` become 255."""
    codes = codes_of(pair.label_map)
    values, places = np.unique(codes, return_inverse=True)
    mapped = np.array([numbers.get(int(value), IGNORED) for value in values], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(mapped[places].reshape(codes.shape)).save(buffer, 'PNG')
    atomic_write(path, buffer.getvalue())


def _image(image_id: int, sample: Sample, root: Path) -> dict:
    name = sample.image.relative_to(root).as_posix()
    width, height = sample.size
    return {'id': image_id, 'file_name': name, 'width': width, 'height': height}


def annotation_of(instance: Instance, size: tuple[int, int], box: Box) -> dict:
    """Return an instance as an annotation of COCO, without ids.

    Args:
        instance: The instance.
        size: Width and height of its image in pixels.
        box: Its box, as to be written.
    """
    bbox = [round(float(value), 2) for value in box]
    annotation: dict = {'bbox': bbox, 'iscrowd': int(instance.crowd), 'area': bbox[2] * bbox[3]}
    if instance.rle:
        area = float(coco_mask.area(_compressed(instance.rle, size)))
        annotation.update(segmentation=instance.rle, area=area)
    elif instance.polygons:
        outlines = [[round(float(value), 2) for value in polygon] for polygon in instance.polygons]
        area = sum(polygon_area(polygon) for polygon in instance.polygons)
        annotation.update(segmentation=outlines, area=area)
    return annotation


def _compressed(rle: dict, size: tuple[int, int]) -> dict:
    """Return a run-length encoding in its compressed form; COCO also stores lists of counts."""
    if isinstance(rle['counts'], list):
        return coco_mask.frPyObjects(rle, size[1], size[0])
    return rle


def _clipped(box: Box, size: tuple[int, int]) -> Box:
    """Cut a box at the borders of the image."""
    x, y, width, height = box
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(size[0]), x + width), min(float(size[1]), y + height)
    return left, top, max(0.0, right - left), max(0.0, bottom - top)
