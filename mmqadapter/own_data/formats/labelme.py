"""labelme: one JSON per image with shapes."""

from __future__ import annotations

import math
from pathlib import Path

from mmqadapter.own_data.formats.files import (
    check_label,
    faults_of,
    has_keys,
    is_json_with,
    read_json,
    skipped_note,
)
from mmqadapter.own_data.geometry import box_of, ellipse, rectangle
from mmqadapter.own_data.grouping import join_groups
from mmqadapter.own_data.images import by_stem, files_below, image_size, images_below, split_of
from mmqadapter.own_data.samples import Instance, InstanceData, Polygon, Sample, class_names

NAME = 'labelme'
KEYS = ('shapes',)


def matches(root: Path) -> bool:
    """Return whether a JSON below ``root`` has the keys of labelme."""
    return any(is_json_with(path, KEYS) for path in files_below(root, '.json'))


def read(root: Path) -> InstanceData:
    """Read all JSON files of labelme below ``root``; classes are in alphabetical order.

    Shapes with the same label and group are one object. Points and lines are skipped.

    Raises:
        ValueError: A JSON is damaged or has no image.
    """
    images = by_stem(images_below(root))
    splits: dict[str, list[Sample]] = {}
    skipped: set[str] = set()
    for path in files_below(root, '.json'):
        content = read_json(path)
        if has_keys(content, KEYS):
            image = _image(path, content, images)
            with faults_of(path):
                sample = _sample(path, content, image, skipped)
            splits.setdefault(split_of(image, root), []).append(sample)
    return InstanceData(NAME, root, class_names(splits), splits, notes=skipped_note(skipped))


def _image(path: Path, content: dict, images: dict[str, list[Path]]) -> Path:
    name = str(content.get('imagePath') or path.stem).replace('\\', '/')
    beside = path.parent / name
    if beside.is_file():
        return beside
    candidates = images.get(Path(name).stem) or images.get(path.stem)
    if not candidates:
        raise ValueError(f'{str(path)!r} has no image: expected a file {name!r} below the folder.')
    return candidates[0]


def _sample(path: Path, content: dict, image: Path, skipped: set[str]) -> Sample:
    objects = _instances(path, content['shapes'], skipped)
    width, height = content.get('imageWidth'), content.get('imageHeight')
    declared = (width, height) if width and height else None
    return Sample(image, image_size(image), tuple(objects), path, declared)


def _instances(path: Path, shapes: list[dict], skipped: set[str]) -> list[Instance]:
    parts = []
    for shape in shapes:
        polygon = _polygon(shape)
        if len(polygon) < 6:
            skipped.add(str(shape.get('shape_type')))
        else:
            label = check_label(shape['label'], path)
            instance = Instance(label, box_of([polygon]), (polygon,))
            parts.append((shape.get('group_id'), instance))
    return join_groups(parts)


def _polygon(shape: dict) -> Polygon:
    points = [(float(x), float(y)) for x, y in shape['points']]
    kind = shape.get('shape_type') or 'polygon'
    if kind == 'rectangle':
        (left, top), (right, bottom) = points[0], points[len(points) // 2]
        x, y = min(left, right), min(top, bottom)
        return rectangle(x, y, abs(right - left), abs(bottom - top))
    if kind == 'circle':
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return ellipse(x, y, radius, radius)
    if kind == 'polygon':
        return tuple(value for point in points for value in point)
    return ()
