"""Supervisely: ``meta.json``, and folders ``DATASET/img`` and ``DATASET/ann``."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mmqadapter.own_data.formats.files import check_label, faults_of, read_json, skipped_note
from mmqadapter.own_data.geometry import box_of, rectangle
from mmqadapter.own_data.images import split_of
from mmqadapter.own_data.samples import Instance, InstanceData, Sample

NAME = 'Supervisely'


def matches(root: Path) -> bool:
    """Return whether ``root`` holds a project of Supervisely."""
    return (root / 'meta.json').is_file() and any(root.glob('*/ann/*.json'))


def read(root: Path) -> InstanceData:
    """Read a project; points and lines are skipped.

    Raises:
        ValueError: An annotated image is missing.
    """
    meta = read_json(root / 'meta.json')
    with faults_of(root / 'meta.json'):
        classes = tuple(check_label(item['title'], root / 'meta.json') for item in meta['classes'])
    splits: dict[str, list[Sample]] = {}
    skipped: set[str] = set()
    for path in sorted(root.glob('*/ann/*.json')):
        image = path.parent.parent / 'img' / path.stem
        if not image.is_file():
            raise ValueError(f'{str(path)!r} has no image: expected {str(image)!r}.')
        with faults_of(path):
            sample = _sample(path, image, skipped)
        splits.setdefault(split_of(image, root), []).append(sample)
    return InstanceData(NAME, root, classes, splits, notes=skipped_note(skipped))


def _sample(path: Path, image: Path, skipped: set[str]) -> Sample:
    content = read_json(path)
    size = content['size']['width'], content['size']['height']
    objects = _instances(content['objects'], size, skipped)
    return Sample(image, size, tuple(objects), path, size)


def _instances(objects: list[dict], size: tuple[int, int], skipped: set[str]) -> list[Instance]:
    found = []
    for entry in objects:
        instance = _instance(entry, size)
        if instance is None:
            skipped.add(entry['geometryType'])
        else:
            found.append(instance)
    return found


def _instance(entry: dict, size: tuple[int, int]) -> Instance | None:
    kind, label = entry['geometryType'], entry['classTitle']
    if kind == 'bitmap':
        return _bitmap(label, entry['bitmap'], size)
    if kind not in ('polygon', 'rectangle'):
        return None
    outer, holes = entry['points']['exterior'], entry['points'].get('interior', [])
    points = tuple(float(value) for point in outer for value in point)
    if kind == 'rectangle':
        x, y, width, height = box_of([points])
        return Instance(label, (x, y, width, height), (rectangle(x, y, width, height),))
    if holes:
        return _with_holes(label, points, holes, size)
    return Instance(label, box_of([points]), (points,))


def _with_holes(
    label: str, outer: tuple[float, ...], holes: list, size: tuple[int, int]
) -> Instance:
    """Return an outline with holes as a mask, since COCO's polygons have no holes."""
    mask = _filled(outer, size)
    for hole in holes:
        mask &= 1 - _filled(tuple(float(value) for point in hole for value in point), size)
    return _from_mask(label, mask)


def _filled(polygon: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    encoded = coco_mask.merge(coco_mask.frPyObjects([list(polygon)], size[1], size[0]))
    return coco_mask.decode(encoded)


def _bitmap(label: str, bitmap: dict, size: tuple[int, int]) -> Instance:
    """Decode a bitmap: a compressed PNG whose last channel is the mask, and where it lies."""
    with Image.open(io.BytesIO(zlib.decompress(base64.b64decode(bitmap['data'])))) as image:
        pixels = np.asarray(image.convert('RGBA') if image.mode in ('P', 'RGBA') else image)
    part = (pixels[..., 3] if pixels.ndim == 3 else pixels) > 0
    left, top = bitmap['origin']
    mask = np.zeros(size[::-1], np.uint8)
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return _from_mask(label, mask)


def _from_mask(label: str, mask: np.ndarray) -> Instance:
    rle = coco_mask.encode(np.asfortranarray(mask))
    x, y, width, height = (float(value) for value in coco_mask.toBbox(rle))
    return Instance(label, (x, y, width, height), rle={**rle, 'counts': rle['counts'].decode()})
