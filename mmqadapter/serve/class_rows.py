"""Rows of a table of the classes in a prediction: share of the image, count and score of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pycocotools import mask as run_lengths
from torch import Tensor

from mmqadapter.inference.class_file import best_classes
from mmqadapter.inference.prediction import Prediction


@dataclass(frozen=True)
class ClassRow:
    """Share, count and score of one class in an image.

    Attributes:
        name: Name of the class.
        color: Its color in overlays: red, green, blue (0 to 255).
        score: Mean score (0 to 1) of its pixels or instances; None if the model gives none.
        share: Its part of the image's pixels (0 to 1); None for boxes without masks.
        count: Number of instances; None for a segmentor.
    """

    name: str
    color: tuple[int, ...]
    score: float | None
    share: float | None
    count: int | None = None


def class_rows(prediction: Prediction, sample: Any, meta: dict[str, Any]) -> list[ClassRow]:
    """Return a row for each class that an image has, the most of it first.

    Of a classifier these are the classes with the best scores.

    Args:
        prediction: The plain values.
        sample: The data sample that they come from, on the CPU.
        meta: ``classes`` and ``palette``.
    """
    if prediction.scores is not None:
        best = best_classes(prediction.scores, meta['classes'])
        return [
            ClassRow(*_name_and_color(meta, entry['index']), entry['score'], None) for entry in best
        ]
    if prediction.instances is not None:
        rows = _instance_rows(prediction.instances, prediction.shape, meta)
    else:
        assert prediction.labels is not None
        rows = _label_rows(prediction.labels, _scores(sample), meta)
    return sorted(rows, key=lambda row: (row.count or 0, row.share or 0), reverse=True)


def _label_rows(
    labels: np.ndarray, scores: np.ndarray | None, meta: dict[str, Any]
) -> list[ClassRow]:
    counts = np.bincount(labels.ravel())
    sums = None if scores is None else np.bincount(labels.ravel(), scores.ravel())
    rows = []
    for index in counts.nonzero()[0]:
        score = None if sums is None else float(sums[index] / counts[index])
        rows.append(
            ClassRow(*_name_and_color(meta, index), score, float(counts[index] / labels.size))
        )
    return rows


def _instance_rows(
    instances: Sequence[dict[str, Any]], shape: tuple[int, int], meta: dict[str, Any]
) -> list[ClassRow]:
    rows = []
    for index in sorted({instance['category_id'] - 1 for instance in instances}):
        members = [found for found in instances if found['category_id'] == index + 1]
        score = float(np.mean([found['score'] for found in members]))
        share = None
        if all('segmentation' in found for found in members):
            union = run_lengths.merge([found['segmentation'] for found in members])
            share = float(run_lengths.area(union)) / (shape[0] * shape[1])
        rows.append(ClassRow(*_name_and_color(meta, index), score, share, len(members)))
    return rows


def _name_and_color(meta: dict[str, Any], index: int) -> tuple[str, tuple[int, ...]]:
    classes = meta['classes']
    if index >= len(classes):  # such as the ignored label
        return f'label {index}', (128, 128, 128)
    return str(classes[index]), tuple(meta['palette'][index])


def _scores(sample: Any) -> np.ndarray | None:
    """Return the probability of each pixel's label, float (H, W); None without logits."""
    if 'seg_logits' not in sample:
        return None
    logits: Tensor = sample.seg_logits.data.float()  # (C, H, W)
    if len(logits) == 1:
        foreground = logits[0].sigmoid()
        return torch.maximum(foreground, 1 - foreground).numpy()
    top = logits.amax(0)
    # Channel by channel: a softmax would need the memory of all logits again.
    return sum((channel - top).exp() for channel in logits).reciprocal().numpy()
