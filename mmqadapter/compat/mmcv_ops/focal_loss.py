"""The sigmoid focal loss (Lin et al., 'Focal Loss for Dense Object Detection', section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of each logit to output (N, C).

    Args:
        input: Logits (N, C).
        target: Class indices (N,); an index outside 0 .. C - 1 is background.
        weight: Of the classes (C,), or empty.
        output: (N, C), written.
        gamma: Exponent of the modulating factor.
        alpha: Weight of the positive logits; negative ones have 1 - alpha.
    """
    p, positive = input.sigmoid(), _positive(input, target)
    loss = torch.where(
        positive,
        -alpha * (1 - p) ** gamma * F.logsigmoid(input),
        -(1 - alpha) * p**gamma * F.logsigmoid(-input),
    )
    output.copy_(_weighted(loss, target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each loss by its logit to grad_input; arguments as for forward."""
    p, positive = input.sigmoid(), _positive(input, target)
    gradient = torch.where(
        positive,
        -alpha * (1 - p) ** gamma * (1 - p - gamma * p * F.logsigmoid(input)),
        -(1 - alpha) * p**gamma * (gamma * (1 - p) * F.logsigmoid(-input) - p),
    )
    grad_input.copy_(_weighted(gradient, target, weight))


def _positive(input: Tensor, target: Tensor) -> Tensor:
    return target[:, None] == torch.arange(input.shape[1], device=input.device)


def _weighted(values: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Each row times the weight of its class; background has no class, so 1."""
    if not weight.numel():
        return values
    known = (target >= 0) & (target < len(weight))
    row = torch.where(known, weight[target.clamp(0, len(weight) - 1)], weight.new_ones(()))
    return values * row[:, None]
