"""What a model says of one image, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image, as plain values.

    Attributes:
        image: Path of the image.
        shape: Its height and width in pixels.
        labels: Index of the class of every pixel, (H, W) of uint8; None of a detector.
        instances: Dicts as in a COCO results file: ``category_id`` (index of the class + 1),
            ``bbox`` (x, y, width, height in pixels), ``score``, ``area`` and, where the model
            gives masks, ``segmentation`` (compressed run lengths); None of a segmentor.
    """

    image: Path
    shape: tuple[int, int]
    labels: np.ndarray | None
    instances: list[dict[str, Any]] | None


def plain_prediction(path: Path, sample: Any, score_thr: float) -> Prediction:
    """The plain values of a data sample of mmdet or mmseg.

    Raises:
        ValueError: It holds neither labels nor instances, or more classes than 8 bits count.
    """
    labels = instances = None
    if 'pred_sem_seg' in sample:
        labels = _bytes(sample.pred_sem_seg.data[0].numpy())
    if 'pred_instances' in sample:
        found = sample.pred_instances
        instances = _instances(found[found.scores >= score_thr])
    if labels is None and instances is None:
        raise ValueError(f'the model gives {list(sample.keys())}, no labels and no instances.')
    return Prediction(path, tuple(sample.ori_shape[:2]), labels, instances)


def _bytes(labels: np.ndarray) -> np.ndarray:
    if labels.max(initial=0) > 255:
        raise ValueError(f'class number {labels.max()} does not fit the 8 bits of a label map.')
    return labels.astype(np.uint8)


def _instances(found: Any) -> list[dict[str, Any]]:
    results = []
    corners = found.bboxes.tolist()
    for (x, y, right, bottom), label, score in zip(
        corners, found.labels.tolist(), found.scores.tolist(), strict=True
    ):
        box = [x, y, right - x, bottom - y]
        results.append(dict(category_id=label + 1, bbox=box, score=score, area=box[2] * box[3]))
    if 'masks' in found:
        columns = np.asfortranarray(found.masks.numpy().transpose(1, 2, 0).astype(np.uint8))
        for result, mask in zip(results, run_lengths.encode(columns), strict=True):
            area = int(run_lengths.area(mask))
            result.update(segmentation={**mask, 'counts': mask['counts'].decode()}, area=area)
    return results
