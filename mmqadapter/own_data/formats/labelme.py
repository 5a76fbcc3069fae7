"""labelme: one JSON per image with shapes."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from mmqadapter.own_data.geometry import box_of, ellipse, rectangle
from mmqadapter.own_data.images import by_stem, files_below, image_size, images_below, split_of
from mmqadapter.own_data.samples import Instance, InstanceData, Polygon, Sample, class_names

NAME = 'labelme'


def matches(root: Path) -> bool:
    """Return whether a JSON below ``root`` has the keys of labelme."""
    return any(_load(path) for path in files_below(root, '.json'))


def read(root: Path) -> InstanceData:
    """Read all JSON files of labelme below ``root``; classes are in alphabetical order.

    Shapes with the same label and group are one object. Points and lines are skipped.

    Raises:
        ValueError: A JSON has no image.
    """
    images = by_stem(images_below(root))
    splits: dict[str, list[Sample]] = {}
    skipped: set[str] = set()
    for path in files_below(root, '.json'):
        content = _load(path)
        if content:
            image = _image(path, content, images)
            found = tuple(_instances(content['shapes'], skipped))
            splits.setdefault(split_of(image, root), []).append(
                Sample(image, image_size(image), found)
            )
    notes = [f'shapes of these types are skipped: {", ".join(sorted(skipped))}'] if skipped else []
    return InstanceData(NAME, root, class_names(splits), splits, notes=notes)


def _load(path: Path) -> dict[str, Any]:
    """Return the content of a labelme JSON, or an empty dict for another JSON."""
    try:
        content = json.loads(path.read_text('utf-8'))
    except ValueError:
        return {}
    return content if isinstance(content, dict) and 'shapes' in content else {}


def _image(path: Path, content: dict, images: dict[str, list[Path]]) -> Path:
    name = str(content.get('imagePath') or path.stem).replace('\\', '/')
    beside = path.parent / name
    if beside.is_file():
        return beside
    candidates = images.get(Path(name).stem) or images.get(path.stem)
    if not candidates:
        raise ValueError(f'{str(path)!r} has no image: expected a file {name!r} below the folder.')
    return candidates[0]


def _instances(shapes: list[dict], skipped: set[str]) -> list[Instance]:
    groups: dict[Any, list[Polygon]] = defaultdict(list)
    for number, shape in enumerate(shapes):
        polygon = _polygon(shape)
        if len(polygon) < 6:
            skipped.add(str(shape.get('shape_type')))
            continue
        group = shape.get('group_id')
        key = ('single', number) if group is None else ('group', group)
        groups[shape['label'], key].append(polygon)
    return [
        Instance(label, box_of(polygons), tuple(polygons))
        for (label, _), polygons in groups.items()
    ]


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
