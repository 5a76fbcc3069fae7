"""Rows of classes: shares, scores and counts from known predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, PixelData
from pycocotools import mask as run_lengths

from mmqadapter.inference.prediction import Prediction
from mmqadapter.serve.class_rows import ClassRow, class_rows

META = {'classes': ('sky', 'road', 'car'), 'palette': [(1, 2, 3), (4, 5, 6), (7, 8, 9)]}


def labels(values: list[list[int]]) -> Prediction:
    array = np.asarray(values, np.uint8)
    return Prediction(Path('x'), array.shape, array, None)


def with_logits(logits: torch.Tensor) -> BaseDataElement:
    return BaseDataElement(seg_logits=PixelData(data=logits))


def instance(index: int, score: float, *pixels: tuple[int, int], masks: bool = True) -> dict:
    mask = np.zeros((4, 5), np.uint8, order='F')
    for pixel in pixels:
        mask[pixel] = 1
    found = dict(category_id=index + 1, bbox=[0, 0, 1, 1], score=score, area=len(pixels))
    if masks:
        code = run_lengths.encode(mask)
        found['segmentation'] = {**code, 'counts': code['counts'].decode()}
    return found


def instances(*found: dict) -> Prediction:
    return Prediction(Path('x'), (4, 5), None, list(found))


def test_a_class_of_a_label_map_has_its_share_and_mean_probability() -> None:
    probabilities = torch.tensor([[[0.7, 0.6]], [[0.2, 0.1]], [[0.1, 0.3]]])
    prediction = labels([[0, 0]])
    (row,) = class_rows(prediction, with_logits(probabilities.log() + 5), META)
    assert (row.name, row.color, row.share, row.count) == ('sky', (1, 2, 3), 1.0, None)
    assert row.score == pytest.approx(0.65)


def test_large_logits_give_finite_scores() -> None:
    logits = torch.tensor([[[1e4]], [[-1e4]], [[1e4]]])
    (row,) = class_rows(labels([[0]]), with_logits(logits), META)
    assert row.score == pytest.approx(0.5)


def test_a_single_channel_is_the_logit_of_the_foreground() -> None:
    logits = torch.tensor([[[0.9, 0.2]]]).logit()
    rows = class_rows(labels([[1, 0]]), with_logits(logits), META)
    assert {row.name: row.score for row in rows} == pytest.approx({'road': 0.9, 'sky': 0.8})


def test_classes_of_a_label_map_are_sorted_by_share() -> None:
    rows = class_rows(labels([[2, 2, 2], [1, 0, 0]]), BaseDataElement(), META)
    assert [(row.name, row.share) for row in rows] == [
        ('car', 0.5), ('sky', pytest.approx(1 / 3)), ('road', pytest.approx(1 / 6)),
    ]  # fmt: skip
    assert all(row.score is None for row in rows)


def test_a_label_without_a_class_has_a_row_of_its_own() -> None:
    (row,) = class_rows(labels([[255]]), BaseDataElement(), META)
    assert row == ClassRow('label 255', (128, 128, 128), None, 1.0)


def test_instances_are_counted_and_overlapping_pixels_count_once() -> None:
    prediction = instances(
        instance(2, 0.5, (0, 0), (0, 1)),
        instance(1, 0.75, (3, 4)),
        instance(2, 0.9, (0, 1), (1, 1)),
    )
    car, road = class_rows(prediction, BaseDataElement(), META)
    assert (car.name, car.color, car.count, car.share) == ('car', (7, 8, 9), 2, 3 / 20)
    assert car.score == pytest.approx(0.7)
    assert road == ClassRow('road', (4, 5, 6), 0.75, 1 / 20, 1)


def test_boxes_without_masks_have_no_share() -> None:
    (row,) = class_rows(instances(instance(0, 0.5, masks=False)), BaseDataElement(), META)
    assert row == ClassRow('sky', (1, 2, 3), 0.5, None, 1)


def test_nothing_found_gives_no_rows() -> None:
    assert class_rows(instances(), BaseDataElement(), META) == []
