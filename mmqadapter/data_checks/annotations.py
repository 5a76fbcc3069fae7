"""Checks of the annotations of a COCO file: references, boxes and masks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from mmqadapter.data_checks.boxes import box_problems, form_fault
from mmqadapter.data_checks.files import map_with_progress
from mmqadapter.data_checks.masks import is_box, mask_fault
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem
from mmqadapter.data_checks.source import Source


def annotation_problems(source: Source, coco: dict[str, list[dict]]) -> Iterator[Problem]:
    """Yield what is wrong with the annotations of a file whose entries are complete."""
    images = {image['id']: image for image in coco['images']}
    categories = {category['id'] for category in coco['categories']}
    check = partial(_check, source=source, images=images, categories=categories)
    sound, title = [], f'Checking {source.split} instances'
    results = map_with_progress(check, coco['annotations'], title)
    for ann, problems in zip(coco['annotations'], results, strict=True):
        yield from problems
        if not problems:
            sound.append(ann)
    yield from _boxes(sound, images, source.split)
    yield from _duplicates(sound, images, source.split)
    yield from _crowds(coco['annotations'], source.split)


def _check(ann: dict, source: Source, images: dict[Any, dict], categories: set) -> list[Problem]:
    """Check references and mask of an annotation, and that its box is four numbers."""
    where, image = f'{source.split}: annotation {ann["id"]}', images.get(ann['image_id'])
    if image is None:
        message = f'image_id {ann["image_id"]!r} is not among the images'
        return [Problem(ERROR, 'annotation without image', where, message)]
    where += f' of {image["file_name"]}'
    if ann['category_id'] not in categories:
        message = f'category_id {ann["category_id"]!r} is not among the categories'
        return [Problem(ERROR, 'unknown category', where, message)]
    if not is_box(ann['bbox']):
        return list(box_problems(ann, image, where))
    mask, fault = ann.get('segmentation'), ''
    if mask:
        fault = mask_fault(mask, image['width'], image['height'])
    elif source.needs_masks:
        fault = 'no segmentation, but the pipeline loads masks (with_mask=True)'
    return [Problem(ERROR, 'unusable mask', where, fault)] if fault else []


def _boxes(annotations: list[dict], images: dict[Any, dict], split: str) -> Iterator[Problem]:
    """Report the form of all boxes if it is wrong, else what is wrong with single ones."""
    fault = form_fault(annotations, images)
    if fault:
        yield Problem(ERROR, 'box form', split, fault)
        return
    for ann in annotations:
        image = images[ann['image_id']]
        yield from box_problems(ann, image, _place(ann, image, split))


def _duplicates(annotations: list[dict], images: dict[Any, dict], split: str) -> Iterator[Problem]:
    """Report instances that a file holds twice."""
    first: dict[str, Any] = {}
    for ann in annotations:
        content = [ann[key] for key in ('image_id', 'category_id', 'bbox')]
        key = json.dumps([*content, ann.get('segmentation')], default=str)
        if key in first:
            message = f'has the image, class, box and mask of annotation {first[key]}'
            where = _place(ann, images[ann['image_id']], split)
            yield Problem(WARNING, 'duplicate instance', where, message)
        first.setdefault(key, ann['id'])


def _crowds(annotations: list[dict], split: str) -> Iterator[Problem]:
    crowds = Counter(bool(ann.get('iscrowd')) for ann in annotations)[True]
    if crowds:
        message = f'{crowds} of {len(annotations)} instances have iscrowd = 1, so they '
        yield Problem(
            WARNING, 'crowd instances', split, message + 'are neither trained on nor scored'
        )


def _place(ann: dict, image: dict, split: str) -> str:
    return f'{split}: annotation {ann["id"]} of {image["file_name"]}'
