"""Boxes of other forms than COCO's, and boxes that do not fit their masks or images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmqadapter.data_checks.boxes import Boxes, box_problems, form_fault

# Corners of objects in images of 96 x 80 pixels.
CORNERS = np.array([[39, 2, 62, 30], [6, 2, 25, 26], [15, 9, 42, 23], [60, 50, 90, 75]], float)
COCO = np.hstack([CORNERS[:, :2], CORNERS[:, 2:] - CORNERS[:, :2]])
CENTERED = np.hstack([(CORNERS[:, :2] + CORNERS[:, 2:]) / 2, COCO[:, 2:]])


def data(boxes: np.ndarray, masks: np.ndarray | None = None) -> Boxes:
    count = len(boxes)
    masks = np.full((count, 4), np.nan) if masks is None else masks
    places = [f'annotation {number}' for number in range(count)]
    return Boxes(places, boxes, masks, np.tile([96.0, 80.0], (count, 1)), np.ones(count))


@pytest.mark.parametrize(
    ('boxes', 'masks', 'message'),
    [
        (CORNERS, CORNERS, r'look like x1, y1, x2, y2 \(so 4 of 4 agree with their masks\)'),
        (CORNERS, None, r'look like x1, y1, x2, y2 \(else 2 of 4 reach out of their images\)'),
        (CORNERS[:2], CORNERS[:2], 'write .x1, y1, x2 - x1, y2 - y1'),
        (CENTERED, CORNERS, 'look like center x, center y, width, height'),
        (COCO / 96, None, 'all 4 boxes lie between 0 and 1: COCO stores x, y, width, height'),
    ],
)
def test_another_form_is_named_with_that_of_coco(boxes: Any, masks: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        raise ValueError(form_fault(data(boxes, masks)))


def test_areas_tell_the_form_where_nothing_else_does() -> None:
    boxes = CORNERS / 3
    sides = boxes[:, 2:] - boxes[:, :2]
    stored = Boxes([''] * 4, boxes, np.full((4, 4), np.nan), np.full((4, 2), 96.0), sides.prod(1))
    assert 'look like x1, y1, x2, y2 (so their areas agree)' in form_fault(stored)


@pytest.mark.parametrize(
    ('boxes', 'masks'),
    [
        (COCO, CORNERS),
        (COCO, None),
        (COCO + [0, 0, 4, 4], CORNERS),
        (np.zeros((0, 4)), None),
        # One box that reaches out says nothing about the form of three.
        (np.array([[10, 10, 90, 20], [5, 5, 20, 20], [1, 1, 9, 9]], float), None),
    ],
)
def test_boxes_of_coco_have_no_fault(boxes: np.ndarray, masks: np.ndarray | None) -> None:
    assert form_fault(data(boxes, masks)) == ''


@pytest.mark.parametrize(
    ('box', 'message'),
    [
        ([-5, 2, 20, 20], r'bbox \[-5, 2, 20, 20\] reaches out of the 96 x 80 image'),
        ([80, 2, 20, 20], 'reaches out of the 96 x 80 image'),
        ([0, 70, 20, 20], 'reaches out'),
        ([76, 2, 20.9, 20], '^$'),
    ],
)
def test_a_box_beyond_its_image_is_a_warning(box: list, message: str) -> None:
    problems = list(box_problems(data(np.array([box], float))))
    assert [(x.severity, x.kind) for x in problems] == (
        [('warning', 'box beyond image')] if message != '^$' else []
    )
    with pytest.raises(ValueError, match=message):
        raise ValueError(problems[0].message if problems else '')


@pytest.mark.parametrize(
    ('box', 'severity', 'message'),
    [
        ([10, 10, 20, 20], None, '^$'),
        ([8, 8, 24, 24], None, '^$'),
        ([10, 10, 6, 6], 'warning', r'whose box is \[10, 10, 20, 20\] \(overlap 0.09\)'),
        ([50, 50, 20, 20], 'error', 'overlap 0.00'),
        ([10, 10, 30, 30], 'warning', 'it looks like x1, y1, x2, y2: COCO stores'),
    ],
)
def test_a_box_that_disagrees_with_its_mask(box: list, severity: Any, message: str) -> None:
    mask = np.array([[10, 10, 30, 30]], float)
    problems = list(box_problems(data(np.array([box], float), mask)))
    assert [x.severity for x in problems] == ([severity] if severity else [])
    with pytest.raises(ValueError, match=message):
        raise ValueError(problems[0].message if problems else '')
