"""Checks of the annotations of a COCO file: references, boxes and masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from mmqadapter.data_checks.boxes import Boxes, box_problems, form_fault
from mmqadapter.data_checks.files import map_with_progress
from mmqadapter.data_checks.masks import box_fault, is_box, mask_bounds, mask_fault
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem
from mmqadapter.engine.coco_lists import reference_fault

NO_MASK = (np.nan,) * 4
FindForm = Callable[[Boxes], str]


def annotation_problems(
    coco: dict[str, list[dict]], split: str, needs_masks: bool, find_form: FindForm = form_fault
) -> Iterator[Problem]:
    """Yield what is wrong with the annotations of a file whose entries are complete.

    Args:
        coco: The three lists of the file.
        split: Name of the file in a report.
        needs_masks: Whether each instance needs a mask.
        find_form: Return which other form all boxes have; empty for that of COCO.
    """
    images = {image['id']: image for image in coco['images']}
    categories = {category['id'] for category in coco['categories']}
    check = partial(
        _check, split=split, needs_masks=needs_masks, images=images, categories=categories
    )
    usable, masks, title = [], [], f'Checking {split} instances'
    results = map_with_progress(check, coco['annotations'], title)
    for ann, (problem, mask) in zip(coco['annotations'], results, strict=True):
        if problem:
            yield problem
        else:
            usable.append(ann)
            masks.append(mask)
    places = [_place(ann, images, split) for ann in usable]
    yield from _box_problems(usable, images, masks, places, split, find_form)
    yield from _duplicates(usable, places)
    yield from _crowds(coco['annotations'], split)


def _check(
    ann: dict, split: str, needs_masks: bool, images: dict[Any, dict], categories: set
) -> tuple[Problem | None, tuple[float, ...]]:
    """Check references and mask of an annotation, and that its box is four numbers.

    Returns:
        What is wrong, and the corners of the box around the mask.
    """
    kind, fault = reference_fault(ann, images, categories)
    if not fault and not is_box(ann['bbox']):
        kind, fault = 'degenerate box', box_fault(ann, 0, 0)
    if fault:
        return Problem(ERROR, kind, _place(ann, images, split), fault), NO_MASK
    mask, image = ann.get('segmentation'), images[ann['image_id']]
    if not mask and not needs_masks:
        return None, NO_MASK
    fault = 'no segmentation, but the pipeline loads masks (with_mask=True)'
    if mask:
        fault = mask_fault(mask, image['width'], image['height'])
    if fault:
        return Problem(ERROR, 'unusable mask', _place(ann, images, split), fault), NO_MASK
    return None, mask_bounds(mask)


def _box_problems(
    annotations: list[dict],
    images: dict[Any, dict],
    masks: list[tuple[float, ...]],
    places: list[str],
    split: str,
    find_form: FindForm,
) -> Iterator[Problem]:
    """Report the form of all boxes if it is wrong, else what is wrong with single ones."""
    sizes = [(images[x['image_id']]['width'], images[x['image_id']]['height']) for x in annotations]
    columns = [[x['bbox'] for x in annotations], masks, sizes, [x['area'] for x in annotations]]
    boxes, bounds, limits, areas = (np.array(column, dtype=float) for column in columns)
    data = Boxes(places, boxes.reshape(-1, 4), bounds.reshape(-1, 4), limits.reshape(-1, 2), areas)
    fault = find_form(data)
    if fault:
        yield Problem(ERROR, 'box form', split, fault)
        return
    faults = [box_fault(ann, *size) for ann, size in zip(annotations, sizes, strict=True)]
    for place, fault in zip(places, faults, strict=True):
        if fault:
            yield Problem(ERROR, 'degenerate box', place, fault)
    sound = np.array([not fault for fault in faults], dtype=bool)
    yield from box_problems(data[sound])


def _duplicates(annotations: list[dict], places: list[str]) -> Iterator[Problem]:
    """Report instances that a file holds twice."""
    first: dict[str, Any] = {}
    for ann, place in zip(annotations, places, strict=True):
        content = [ann.get(key) for key in ('image_id', 'category_id', 'bbox', 'segmentation')]
        original = first.setdefault(json.dumps(content, default=str), ann['id'])
        if original != ann['id']:
            message = f'has the image, class, box and mask of annotation {original}'
            yield Problem(WARNING, 'duplicate instance', place, message)


def _crowds(annotations: list[dict], split: str) -> Iterator[Problem]:
    crowds = sum(bool(ann.get('iscrowd')) for ann in annotations)
    if crowds:
        message = f'{crowds} of {len(annotations)} instances have iscrowd = 1, so they '
        yield Problem(
            WARNING, 'crowd instances', split, message + 'are neither trained on nor scored'
        )


def _place(ann: dict, images: dict[Any, dict], split: str) -> str:
    image = images.get(ann['image_id'])
    return f'{split}: annotation {ann["id"]}' + (f' of {image["file_name"]}' if image else '')
