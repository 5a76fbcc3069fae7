"""Checks of the boxes of a COCO file: their form, their masks, the borders of their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmqadapter.data_checks.masks import box_fault, is_polygon
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem

# Fewer boxes than this may have another form by chance.
EVIDENCE = 4
COCO_FORM = 'COCO stores x, y, width, height in pixels'
# Forms of boxes (N, 4) in pixels as functions that return their corners (N, 4), and the remedy.
FORMS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    'x1, y1, x2, y2': (lambda box: box, 'write [x1, y1, x2 - x1, y2 - y1]'),
    'center x, center y, width, height': (
        lambda box: np.hstack([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2]),
        'write [x - width / 2, y - height / 2, width, height]',
    ),
}


def corners(boxes: np.ndarray) -> np.ndarray:
    """Return boxes (N, 4) of the COCO form as corners x1, y1, x2, y2 (N, 4)."""
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return intersection over union (N,) of two lists of corners (N, 4)."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = [np.prod(np.clip(box[:, 2:] - box[:, :2], 0, None), axis=1) for box in (first, second)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)


def mask_bounds(segmentation: Any) -> tuple[float, float, float, float] | None:
    """Return the corners of a mask that is known to decode; None if there is none."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        if isinstance(segmentation['counts'], list):
            segmentation = coco_mask.frPyObjects(segmentation, *segmentation['size'])
        x, y, width, height = coco_mask.toBbox(segmentation).tolist()
        return x, y, x + width, y + height
    points = np.concatenate([np.reshape(p, (-1, 2)) for p in segmentation if is_polygon(p)])
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def form_fault(annotations: list[dict], images: Mapping[Any, dict]) -> str:
    """Return which other form the boxes of a file have, and the remedy; empty for that of COCO.

    Args:
        annotations: COCO annotations whose boxes are four finite numbers and whose masks decode.
        images: COCO images by their id.
    """
    known = [ann for ann in annotations if ann['image_id'] in images]
    if not known:
        return ''
    boxes = np.array([ann['bbox'] for ann in known], dtype=float)
    if boxes.max() <= 1:
        remedy = 'multiply them by width and height of the image'
        return f'all {len(boxes)} boxes lie between 0 and 1: {COCO_FORM}; {remedy}'
    sizes = np.array([[images[ann['image_id']][k] for k in ('width', 'height')] for ann in known])
    for name, (to_corners, remedy) in FORMS.items():
        reason = _mask_evidence(known, boxes, to_corners)
        if not reason and name.startswith('x1'):
            reason = _border_evidence(boxes, sizes) or _area_evidence(known, boxes)
        if reason:
            return f'the boxes look like {name} ({reason}): {COCO_FORM}; {remedy}'
    return ''


def _mask_evidence(
    annotations: list[dict], boxes: np.ndarray, to_corners: Callable[[np.ndarray], np.ndarray]
) -> str:
    bounds = [mask_bounds(ann.get('segmentation')) for ann in annotations]
    rows = [row for row, bound in enumerate(bounds) if bound is not None]
    if len(rows) < 2:
        return ''
    masks = np.array([bounds[row] for row in rows])
    as_stored = overlaps(corners(boxes[rows]), masks)
    as_other = overlaps(to_corners(boxes[rows]), masks)
    if np.median(as_stored) > 0.7 or np.median(as_other) < 0.9:
        return ''
    return f'so {int((as_other > 0.9).sum())} of {len(rows)} agree with their masks'


def _border_evidence(boxes: np.ndarray, sizes: np.ndarray) -> str:
    outside = (corners(boxes)[:, 2:] > sizes + 1).any(axis=1)
    inside = (boxes[:, 2:] > boxes[:, :2]).all() and (boxes[:, 2:] <= sizes + 1).all()
    if len(boxes) < EVIDENCE or not inside or not outside.any():
        return ''
    return f'else {int(outside.sum())} of {len(boxes)} reach out of their images'


def _area_evidence(annotations: list[dict], boxes: np.ndarray) -> str:
    areas = np.array([ann['area'] for ann in annotations], dtype=float)
    agree = [
        np.isclose(np.prod(sides, axis=1), areas, rtol=0.01).mean()
        for sides in (boxes[:, 2:], boxes[:, 2:] - boxes[:, :2])
    ]
    if len(boxes) < EVIDENCE or agree[0] > 0.5 or agree[1] < 0.9:
        return ''
    return 'so their areas agree'


def box_problems(ann: dict, image: dict, where: str) -> Iterator[Problem]:
    """Yield what is wrong with the box of one annotation, and whether it fits the mask.

    Args:
        ann: COCO annotation whose mask decodes.
        image: COCO image that it belongs to.
        where: Name of the annotation in a report.
    """
    width, height = image['width'], image['height']
    fault = box_fault(ann, width, height)
    if fault:
        yield Problem(ERROR, 'degenerate box', where, fault)
        return
    box, size = np.array([ann['bbox']], dtype=float), np.array([width, height])
    stored = corners(box)
    if stored.min() < -1 or (stored[:, 2:] > size + 1).any():
        message = f'bbox {ann["bbox"]} reaches out of the {width} x {height} image'
        yield Problem(WARNING, 'box beyond image', where, message)
    bounds = mask_bounds(ann.get('segmentation'))
    if bounds is not None:
        yield from _disagreement(ann, box, np.array([bounds]), size, where)


def _disagreement(
    ann: dict, box: np.ndarray, bounds: np.ndarray, size: np.ndarray, where: str
) -> Iterator[Problem]:
    """Report a box that covers less than half of what it and its mask cover together."""
    limits = np.tile(size, 2)
    bounds = np.clip(bounds, 0, limits)
    overlap = float(overlaps(np.clip(corners(box), 0, limits), bounds)[0])
    if overlap >= 0.5:
        return
    x1, y1, x2, y2 = bounds[0].round(1).tolist()
    message = f'bbox {ann["bbox"]} disagrees with its mask, whose box is '
    message += f'{[x1, y1, round(x2 - x1, 1), round(y2 - y1, 1)]} (overlap {overlap:.2f})'
    for name, (to_corners, _) in FORMS.items():
        if overlaps(to_corners(box), bounds)[0] > 0.9:
            message += f'; it looks like {name}: {COCO_FORM}'
    yield Problem(WARNING if overlap else ERROR, 'box and mask disagree', where, message)
