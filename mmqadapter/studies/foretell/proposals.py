"""Region proposals for a detector whose network has computed none."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 8.0  # pixels of a side
SEED = 0


def proposals(truth: Tensor, count: int, height: int, width: int) -> Tensor:
    """Return boxes that bring samplers of regions to their caps, at all levels of a pyramid.

    One half are boxes of the ground truth, which no threshold of overlap refuses; the other are
    random and overlap hardly any object.

    Args:
        truth: Boxes of the objects (N, 4), as x1, y1, x2, y2 in pixels.
        count: Boxes to return.
        height: Pixels of the image.
        width: Pixels of the image.

    Returns:
        (count, 4).
    """
    generator = torch.Generator().manual_seed(SEED)
    limits = torch.tensor([float(width), float(height)])
    sides = SMALLEST * (limits / SMALLEST).clamp(min=1) ** torch.rand(count, 2, generator=generator)
    start = torch.rand(count, 2, generator=generator) * (limits - sides).clamp(min=0)
    boxes = torch.cat([start, start + sides], 1)
    if len(truth):
        positive = count // 2
        boxes[:positive] = truth[torch.arange(positive) % len(truth)]
    return boxes
