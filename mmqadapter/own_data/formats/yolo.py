"""YOLO: one text file per image, with boxes or outlines as shares of its width and height."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import yaml  # type: ignore[import-untyped]

from mmqadapter.data_checks.boxes import EVIDENCE
from mmqadapter.own_data.formats.files import check_label, read_text
from mmqadapter.own_data.geometry import box_of
from mmqadapter.own_data.images import files_below, image_size, images_below, split_of
from mmqadapter.own_data.samples import Instance, InstanceData, Sample
from mmqadapter.utils.text import one_line

NAME = 'YOLO'
BOX_FIELDS = 5
TOLERANCE = 0.01  # of shares that were rounded
LABEL_LINE = re.compile(r'\d+(\s+[-+.\deE]+){4,}')
NAME_FILES = ('classes.txt', 'obj.names')


def matches(root: Path) -> bool:
    """Return whether images below ``root`` have label files of YOLO."""
    return any(_label_file(image).is_file() for image in images_below(root))


def read(root: Path) -> InstanceData:
    """Read all images below ``root`` and their label files; no label file means no object.

    Raises:
        ValueError: A line is not of YOLO's form, a label file has no image, or an image cannot be
            read.
    """
    classes, notes = _classes(root)
    splits: dict[str, list[Sample]] = {}
    images = images_below(root)
    _refuse_lost(root, {_label_file(image) for image in images})
    for image in images:
        splits.setdefault(split_of(image, root), []).append(_sample(image, classes))
    _refuse_corners([sample for samples in splits.values() for sample in samples])
    return InstanceData(NAME, root, tuple(classes), splits, notes=notes)


def _label_file(image: Path) -> Path:
    """Return the label file of an image: in ``labels`` for ``images``, or beside it."""
    parts = list(image.parts)
    positions = [place for place, part in enumerate(parts[:-1]) if part == 'images']
    if positions:
        parts[positions[-1]] = 'labels'
        path = Path(*parts).with_suffix('.txt')
        if path.is_file():
            return path
    return image.with_suffix('.txt')


def _refuse_lost(root: Path, used: set[Path]) -> None:
    """Refuse files of ``labels`` folders that hold objects, but belong to no image."""
    lost = [
        path
        for path in files_below(root, '.txt')
        if 'labels' in path.relative_to(root).parts[:-1] and path not in used and _is_labels(path)
    ]
    if lost:
        raise ValueError(
            f'{str(lost[0])!r} has no image ({len(lost)} such label files): expected an image '
            f'{lost[0].stem!r} in the folder images beside labels; add it or remove the labels.'
        )


def _is_labels(path: Path) -> bool:
    first = path.read_text('utf-8', errors='replace').strip().partition('\n')[0]
    return path.name not in NAME_FILES and bool(LABEL_LINE.fullmatch(first.strip()))


def _refuse_corners(samples: list[Sample]) -> None:
    """Refuse boxes x1, y1, x2, y2: read so, all lie inside; read as YOLO's, some reach out."""
    boxes = np.array([
        np.divide(instance.box, sample.size * 2)
        for sample in samples
        for instance in sample.instances
        if not instance.polygons
    ]).reshape(-1, 4)  # fmt: skip
    low, sides = boxes[:, :2], boxes[:, 2:]
    outside = ((low < -TOLERANCE) | (low + sides > 1 + TOLERANCE)).any(axis=1)
    if len(boxes) >= EVIDENCE and outside.any() and (low + sides / 2 < sides).all():
        raise ValueError(
            f'the boxes look like x1, y1, x2, y2 (else {int(outside.sum())} of {len(boxes)} reach '
            'out of their images): YOLO stores center x, center y, width, height; write '
            '(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1.'
        )


def _classes(root: Path) -> tuple[list[str], list[str]]:
    for path in files_below(root, '.yaml', '.yml'):
        if names := _yaml_names(path):
            texts = (str(name) if isinstance(name, (int, float)) else name for name in names)
            return [check_label(text, path) for text in texts], []
    for path in files_below(root, '.txt', '.names'):
        if path.name in NAME_FILES:
            return [line.strip() for line in read_text(path).splitlines() if line.strip()], []
    return [], ['no data.yaml or classes.txt with names: classes are called class_0, class_1, ...']


def _yaml_names(path: Path) -> list:
    """Return ``names`` of a YAML file, in the order of their numbers; empty if it has none.

    Raises:
        ValueError: The file is not YAML, or the names are neither a list nor numbered.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f'{str(path)!r} is not valid YAML ({one_line(error)}).') from error
    names = (content.get('names') if isinstance(content, dict) else None) or []
    if isinstance(names, dict) and all(isinstance(number, int) for number in names):
        names = [names[number] for number in sorted(names)]
    if not isinstance(names, list):
        raise ValueError(
            f'{str(path)!r} has names={str(names)[:60]!r}: expected a list of class names, or the '
            'name of each class number.'
        )
    return names


def _sample(image: Path, classes: list[str]) -> Sample:
    size = image_size(image)
    file = _label_file(image)
    if not file.is_file():
        return Sample(image, size)
    lines = enumerate(read_text(file).splitlines(), 1)
    found = (
        _instance(line, f'{file}:{number}', size, classes) for number, line in lines if line.strip()
    )
    return Sample(image, size, tuple(found), file)


def _instance(line: str, place: str, size: tuple[int, int], classes: list[str]) -> Instance:
    try:
        number, *values = line.split()
        label = _label(int(number), classes)
        shares = [float(value) for value in values]
    except (ValueError, IndexError) as error:
        raise ValueError(
            f'{place}: {line[:60]!r} is invalid: expected a class number from 0 to '
            f'{len(classes) - 1} and numbers.'
        ) from error
    if not all(-TOLERANCE <= share <= 1 + TOLERANCE for share in shares):
        raise ValueError(
            f'{place}: {line[:60]!r} is invalid: YOLO stores shares of width and height, from 0 to '
            '1; these are not.'
        )
    scaled = tuple(share * size[axis % 2] for axis, share in enumerate(shares))
    if len(shares) == BOX_FIELDS - 1:
        x, y, width, height = scaled
        return Instance(label, (x - width / 2, y - height / 2, width, height))
    if len(shares) >= 6 and len(shares) % 2 == 0:
        return Instance(label, box_of([scaled]), (scaled,))
    raise ValueError(
        f'{place}: {line[:60]!r} is invalid: expected 4 numbers (box) or at least 3 points '
        f'(outline) after the class, got {len(shares)} numbers.'
    )


def _label(number: int, classes: list[str]) -> str:
    """Return the name of a class; without names, add ``class_0``, ``class_1``, ... as needed."""
    if number < 0:
        raise IndexError(number)
    if all(name.startswith('class_') for name in classes):
        classes.extend(f'class_{new}' for new in range(len(classes), number + 1))
    return classes[number]
