"""Predictions and images reduced to the size of a screen, so that drawing takes little time."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from mmengine.structures import BaseDataElement, InstanceData, PixelData

SCREEN = 1600  # longer side in pixels up to which nothing is reduced


def reduce(sample: Any, pixels: np.ndarray, score_thr: float) -> tuple[Any, np.ndarray]:
    """Return a data sample and its image for drawing, with sides of at most ``SCREEN`` pixels.

    Args:
        sample: The data sample of mmdet or mmseg, on the CPU; not changed.
        pixels: The image, uint8 (H, W, 3).
        score_thr: Instances below this score (0 to 1) may be left out.
    """
    height, width = pixels.shape[:2]
    step = math.ceil(max(height, width) / SCREEN)
    if step == 1:
        return sample, pixels
    reduced = BaseDataElement()
    if 'pred_sem_seg' in sample:
        labels = sample.pred_sem_seg.data[:, ::step, ::step]
        reduced.pred_sem_seg = PixelData(data=labels)
    if 'pred_instances' in sample:
        reduced.pred_instances = _instances(sample.pred_instances, step, score_thr)
    if 'pred_score' in sample:
        reduced = sample
    size = math.ceil(width / step), math.ceil(height / step)
    return reduced, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _instances(instances: InstanceData, step: int, score_thr: float) -> InstanceData:
    shown = instances[instances.scores >= score_thr]
    shown.bboxes = shown.bboxes / step
    if 'masks' in shown:
        masks = shown.pop('masks')
        shown.masks = masks[:, ::step, ::step]
    return shown
