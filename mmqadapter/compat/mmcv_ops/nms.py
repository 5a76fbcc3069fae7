"""Non-maximum suppression by torchvision, and soft-NMS in PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision import ops

# Weight of a box by its overlap (IoU) with the chosen one: (overlap, threshold, sigma) -> weight.
Decay = Callable[[Tensor, float, float], Tensor]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes kept, by falling score.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: Boxes that overlap a better one by more are dropped.
        offset: 1 where x2 and y2 are pixels of the box (width x2 - x1 + 1), else 0.
    """
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return ops.nms(boxes, scores, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Return the indices of the boxes kept, in the order chosen; write boxes and scores to dets.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        dets: (N, 5), written: the boxes kept and their lowered scores.
        iou_threshold: Overlap from which the methods naive and linear lower a score.
        sigma: Width of the Gaussian method.
        min_score: Boxes whose score falls below it are dropped.
        method: 0 naive, 1 linear, 2 Gaussian.
        offset: As for ``nms``.
    """
    decay = DECAYS[method]
    areas = _areas(boxes, offset)
    rest = torch.arange(len(boxes))
    scores = scores.clone()
    chosen: list[int] = []
    while len(rest):
        best = int(scores[rest].argmax())
        index = int(rest[best])
        dets[len(chosen), :4], dets[len(chosen), 4] = boxes[index], scores[index]
        chosen.append(index)
        rest = torch.cat([rest[:best], rest[best + 1 :]])
        overlaps = _overlaps(boxes[index], areas[index], boxes[rest], areas[rest], offset)
        scores[rest] *= decay(overlaps, iou_threshold, sigma)
        rest = rest[scores[rest] >= min_score]
    return torch.tensor(chosen, dtype=torch.long)


def _areas(boxes: Tensor, offset: int) -> Tensor:
    sides = boxes[:, 2:] - boxes[:, :2] + offset
    return sides[:, 0] * sides[:, 1]


def _overlaps(box: Tensor, area: Tensor, boxes: Tensor, areas: Tensor, offset: int) -> Tensor:
    """IoU of one box (4,) with others (N, 4)."""
    low = torch.maximum(box[:2], boxes[:, :2])
    high = torch.minimum(box[2:], boxes[:, 2:])
    sides = (high - low + offset).clamp(min=0)
    shared = sides[:, 0] * sides[:, 1]
    return shared / (area + areas - shared)


def _naive(overlap: Tensor, threshold: float, sigma: float) -> Tensor:
    return (overlap < threshold).to(overlap.dtype)


def _linear(overlap: Tensor, threshold: float, sigma: float) -> Tensor:
    return torch.where(overlap >= threshold, 1 - overlap, torch.ones_like(overlap))


def _gaussian(overlap: Tensor, threshold: float, sigma: float) -> Tensor:
    return torch.exp(-(overlap * overlap) / sigma)


DECAYS: tuple[Decay, ...] = (_naive, _linear, _gaussian)  # by the number that mmcv gives a method
