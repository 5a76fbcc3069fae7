"""Checks of the boxes of a COCO file: their form, their masks, the borders of their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmqadapter.data_checks.problem import ERROR, WARNING, Problem

# Fewer boxes than this may have another form by chance.
EVIDENCE = 4
COCO_FORM = 'COCO stores x, y, width, height in pixels'


def corners(boxes: np.ndarray) -> np.ndarray:
    """Return boxes (N, 4) of the COCO form as corners x1, y1, x2, y2 (N, 4)."""
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def _centered(boxes: np.ndarray) -> np.ndarray:
    return np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])


# Other forms of boxes (N, 4) in pixels: functions that return their corners, and the remedy.
FORMS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    'x1, y1, x2, y2': (lambda boxes: boxes, 'write [x1, y1, x2 - x1, y2 - y1]'),
    'center x, center y, width, height': (
        _centered,
        'write [x - width / 2, y - height / 2, width, height]',
    ),
}


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return intersection over union (N,) of two lists of corners (N, 4); NaN where one is NaN."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = [np.prod(np.clip(box[:, 2:] - box[:, :2], 0, None), axis=1) for box in (first, second)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)


@dataclass(frozen=True)
class Boxes:
    """Boxes of N annotations, as the file stores them.

    Attributes:
        places: Names of the annotations in a report.
        boxes: ``bbox`` of each; shape (N, 4).
        masks: Corners of the box around each mask; shape (N, 4), NaN for no mask.
        sizes: Width and height of the image of each; shape (N, 2).
        areas: ``area`` of each; shape (N,).
    """

    places: Sequence[str]
    boxes: np.ndarray
    masks: np.ndarray
    sizes: np.ndarray
    areas: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Boxes:
        """Return the boxes of some annotations; ``rows`` is a boolean mask (N,)."""
        places = [self.places[row] for row in np.flatnonzero(rows)]
        arrays = (self.boxes, self.masks, self.sizes, self.areas)
        return Boxes(places, *(array[rows] for array in arrays))


def form_fault(data: Boxes) -> str:
    """Return which other form all boxes have, and the remedy; empty for that of COCO."""
    boxes = data.boxes
    if len(boxes) == 0:
        return ''
    if boxes.max() <= 1 < data.sizes.min():
        remedy = 'multiply them by width and height of the image'
        return f'all {len(boxes)} boxes lie between 0 and 1: {COCO_FORM}; {remedy}'
    for name, (to_corners, remedy) in FORMS.items():
        reason = _mask_evidence(data, to_corners)
        if not reason and to_corners(boxes) is boxes:
            reason = _border_evidence(data) or _area_evidence(data)
        if reason:
            return f'the boxes look like {name} ({reason}): {COCO_FORM}; {remedy}'
    return ''


def _mask_evidence(data: Boxes, to_corners: Callable[[np.ndarray], np.ndarray]) -> str:
    with_mask = ~np.isnan(data.masks[:, 0])
    boxes, masks = data.boxes[with_mask], data.masks[with_mask]
    if len(boxes) < 2:
        return ''
    as_stored, as_other = overlaps(corners(boxes), masks), overlaps(to_corners(boxes), masks)
    if np.median(as_stored) > 0.7 or np.median(as_other) < 0.9:
        return ''
    return f'so {int((as_other > 0.9).sum())} of {len(boxes)} agree with their masks'


def _border_evidence(data: Boxes) -> str:
    boxes, limits = data.boxes, data.sizes + 1
    outside = (corners(boxes)[:, 2:] > limits).any(axis=1)
    inside = (boxes[:, 2:] > boxes[:, :2]).all() and (boxes[:, 2:] <= limits).all()
    if len(boxes) < EVIDENCE or not inside or not outside.any():
        return ''
    return f'else {int(outside.sum())} of {len(boxes)} reach out of their images'


def _area_evidence(data: Boxes) -> str:
    boxes = data.boxes
    as_stored, as_corners = (
        np.isclose(np.prod(sides, axis=1), data.areas, rtol=0.01).mean()
        for sides in (boxes[:, 2:], boxes[:, 2:] - boxes[:, :2])
    )
    if len(boxes) < EVIDENCE or as_stored > 0.5 or as_corners < 0.9:
        return ''
    return 'so their areas agree'


def box_problems(data: Boxes) -> Iterator[Problem]:
    """Yield boxes that reach out of their images by more than a pixel, or disagree with masks."""
    stored, limits = corners(data.boxes), np.tile(data.sizes, 2)
    outside = (stored.min(axis=1) < -1) | (stored > limits + 1).any(axis=1)
    for row in np.flatnonzero(outside):
        width, height = data.sizes[row]
        message = f'bbox {_text(data.boxes[row])} reaches out of the {width:g} x {height:g} image'
        yield Problem(WARNING, 'box beyond image', data.places[row], message)
    masks = np.clip(data.masks, 0, limits)
    overlap = overlaps(np.clip(stored, 0, limits), masks)
    for row in np.flatnonzero(overlap < 0.5):  # false for NaN
        message = f'bbox {_text(data.boxes[row])} disagrees with its mask, whose box is '
        message += f'{_text(_coco_form(masks[row]))} (overlap {overlap[row]:.2f})'
        message += _other_form(data.boxes[[row]], masks[[row]])
        severity = WARNING if overlap[row] else ERROR
        yield Problem(severity, 'box and mask disagree', data.places[row], message)


def _other_form(box: np.ndarray, mask: np.ndarray) -> str:
    for name, (to_corners, _) in FORMS.items():
        if overlaps(to_corners(box), mask)[0] > 0.9:
            return f'; it looks like {name}: {COCO_FORM}'
    return ''


def _coco_form(box: np.ndarray) -> np.ndarray:
    return np.concatenate([box[:2], box[2:] - box[:2]])


def _text(box: np.ndarray) -> str:
    return f'[{", ".join(f"{value:g}" for value in box.round(1))}]'
