"""A model's prediction for one image, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths


@dataclass(frozen=True)
class Prediction:
    """Prediction of a model for one image, as plain values.

    Attributes:
        image: Path of the image.
        shape: Its height and width in pixels.
        labels: Class index of every pixel, uint8 (H, W); None for other models than segmentors.
        instances: Dicts as in a COCO results file: ``category_id`` (class index + 1), ``bbox``
            (x, y, width, height in pixels), ``score``, ``area`` and, if the model predicts masks,
            ``segmentation`` (compressed run lengths); None for other models than detectors.
        scores: Score (0 to 1) of each class, float32 (classes,); None for other models than
            classifiers.
    """

    image: Path
    shape: tuple[int, int]
    labels: np.ndarray | None
    instances: list[dict[str, Any]] | None
    scores: np.ndarray | None = None


def plain_prediction(path: Path, sample: Any, score_thr: float) -> Prediction:
    """Return the plain values of a data sample of mmdet, mmseg or mmpretrain.

    Args:
        path: Path of the image.
        sample: The data sample, on the CPU.
        score_thr: Instances below this score (0 to 1) are left out.

    Raises:
        ValueError: The sample has neither labels, instances nor scores, or a class index above 255.
    """
    labels = instances = scores = None
    if 'pred_sem_seg' in sample:
        labels = _bytes(sample.pred_sem_seg.data[0].numpy())
    if 'pred_instances' in sample:
        predicted = sample.pred_instances
        instances = _instances(predicted[predicted.scores >= score_thr])
    if 'pred_score' in sample:
        scores = sample.pred_score.float().numpy()
    if labels is None and instances is None and scores is None:
        raise ValueError(
            f'the model predicts {list(sample.keys())}: expected pred_sem_seg, pred_instances or '
            'pred_score; use a segmentor, a detector or a classifier.'
        )
    return Prediction(path, tuple(sample.ori_shape[:2]), labels, instances, scores)


def _bytes(labels: np.ndarray) -> np.ndarray:
    if labels.max(initial=0) > 255:
        raise ValueError(f'class index {labels.max()} does not fit the 8 bits of a label map.')
    return labels.astype(np.uint8)


def _instances(predicted: Any) -> list[dict[str, Any]]:
    results = []
    corners = predicted.bboxes.tolist()
    for (x, y, right, bottom), label, score in zip(
        corners, predicted.labels.tolist(), predicted.scores.tolist(), strict=True
    ):
        box = [x, y, right - x, bottom - y]
        results.append(dict(category_id=label + 1, bbox=box, score=score, area=box[2] * box[3]))
    if 'masks' in predicted:
        columns = np.asfortranarray(predicted.masks.numpy().transpose(1, 2, 0).astype(np.uint8))
        for result, mask in zip(results, run_lengths.encode(columns), strict=True):
            area = int(run_lengths.area(mask))
            result.update(segmentation={**mask, 'counts': mask['counts'].decode()}, area=area)
    return results
