"""Check of annotations as their files store them, before anything is converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmqadapter.data_checks.annotations import annotation_problems
from mmqadapter.data_checks.coco_index import (
    category_problems,
    drop_incomplete,
    duplicate_files,
    duplicate_ids,
    load_coco,
    size_fault,
)
from mmqadapter.data_checks.masks import is_box
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem
from mmqadapter.data_checks.report import EXAMPLES
from mmqadapter.own_data.converted import annotation_of
from mmqadapter.own_data.images import image_size
from mmqadapter.own_data.samples import CocoFile, InstanceData, Sample

# Warnings that the check of the converted files no longer sees, and what becomes of such data.
MENDED = {
    'box beyond image': 'converted boxes are cut at the border',
    'duplicate annotation id': 'converted annotations are numbered anew',
}


REMEDIES = {
    'degenerate box': 'correct or remove it',
    'unusable mask': 'correct or remove it',
    'size mismatch': 'correct the size, or put back the image that was annotated',
    'unknown category': 'add the category or remove the annotation',
    'box and mask disagree': 'correct the box',
}


class FaultyAnnotationsError(ValueError):
    """Faults of annotation files.

    Attributes:
        lines: One line for each fault, at most five of a kind.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__('\n'.join(lines))
        self.lines = lines


def check_originals(data: InstanceData) -> list[str]:
    """Check annotations that will be converted by the rules of ``check-data``.

    Returns:
        Notes on what the conversion mends.

    Raises:
        FaultyAnnotationsError: There are errors.
    """
    problems = list(_coco_problems(data) if data.coco else _sample_problems(data))
    errors = [problem for problem in problems if problem.severity == ERROR]
    if errors:
        raise FaultyAnnotationsError(list(_error_lines(errors)))
    return list(_notes(problems))


def _error_lines(errors: list[Problem]) -> Iterator[str]:
    for kind, count in Counter(error.kind for error in errors).items():
        examples = [error for error in errors if error.kind == kind][:EXAMPLES]
        remedy = f'; {REMEDIES[kind]}' if kind in REMEDIES else ''
        yield from (f'{kind}: {error.where}: {error.message}{remedy}' for error in examples)
        if count > EXAMPLES:
            yield f'{kind}: {count - EXAMPLES} more'


def _notes(problems: list[Problem]) -> Iterator[str]:
    for kind, fate in MENDED.items():
        found = [problem for problem in problems if problem.kind == kind]
        if found:
            first = f'{found[0].where}: {found[0].message}'
            yield f'{kind} ({len(found)}; {fate}), such as {first}'


def _coco_problems(data: InstanceData) -> Iterator[Problem]:
    for file in data.coco.values():
        name = file.annotations.relative_to(data.root).as_posix()
        coco = load_coco(str(file.annotations))
        coco['annotations'] = [_filled(*item) for item in enumerate(coco['annotations'])]
        yield from drop_incomplete(coco, name)
        yield from duplicate_ids({key: coco[key] for key in ('images', 'categories')}, name)
        for problem in duplicate_ids({'annotations': coco['annotations']}, name):
            yield Problem(WARNING, 'duplicate annotation id', problem.where, problem.message)
        yield from duplicate_files(coco['images'], name)
        yield from category_problems(coco['categories'], data.classes, name)
        yield from _size_problems(coco['images'], file, name)
        yield from annotation_problems(coco, name, data.has_masks)


def _filled(number: int, annotation: dict) -> dict:
    """Return an annotation with the id and the area that the conversion adds."""
    box, area = annotation.get('bbox'), annotation.get('area')
    if not isinstance(area, (int, float)) or not area > 0:
        area = box[2] * box[3] if isinstance(box, list) and is_box(box) else 0.0
    return {'id': number, **annotation, 'area': area}


def _size_problems(images: list[dict], file: CocoFile, name: str) -> Iterator[Problem]:
    for image in images:
        fault = _size_fault(file.images / image['file_name'], (image['width'], image['height']))
        if fault:
            yield Problem(ERROR, 'size mismatch', f'{name}: {image["file_name"]}', fault)


def _size_fault(path: Path, declared: tuple[int, int]) -> str:
    """Return how a declared size is wrong; images that cannot be read are left to check-data."""
    try:
        return size_fault(image_size(path), declared)
    except ValueError:
        return ''


def _sample_problems(data: InstanceData) -> Iterator[Problem]:
    samples = [sample for split in data.splits.values() for sample in split]
    places = [_place(sample, data.root) for sample in samples]
    for sample, place in zip(samples, places, strict=True):
        fault = _size_fault(sample.image, sample.declared) if sample.declared else ''
        if fault:
            yield Problem(ERROR, 'size mismatch', f'{data.format}: {place}', fault)
    files = [
        {'id': f'{place}, image {number}', 'file_name': str(sample.image.relative_to(data.root))}
        for number, (sample, place) in enumerate(zip(samples, places, strict=True), 1)
    ]
    yield from duplicate_files(files, data.format)
    # The format itself says what form its boxes have.
    yield from annotation_problems(
        _as_coco(samples, places, data.classes), data.format, data.has_masks, lambda boxes: ''
    )


def _place(sample: Sample, root: Path) -> str:
    image = sample.image.relative_to(root).as_posix()
    return f'{image} in {sample.file.relative_to(root).as_posix()}' if sample.file else image


def _as_coco(
    samples: list[Sample], places: list[str], classes: tuple[str, ...]
) -> dict[str, list[dict]]:
    """Return samples in the form of COCO, with boxes as stored and labels as category ids."""
    images, annotations = [], []
    for number, (sample, place) in enumerate(zip(samples, places, strict=True)):
        width, height = sample.size
        images.append({'id': number, 'file_name': place, 'width': width, 'height': height})
        for position, instance in enumerate(sample.instances, 1):
            ids: dict[str, Any] = {'id': position, 'image_id': number}
            content = annotation_of(instance, sample.size, instance.box)
            annotations.append({**ids, 'category_id': instance.label, **content})
    categories = [{'id': name, 'name': name} for name in classes]
    return {'images': images, 'annotations': annotations, 'categories': categories}
