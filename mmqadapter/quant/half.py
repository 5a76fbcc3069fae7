"""Parametrization of parameters that are stored as float16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def round_to_half(tensor: Tensor) -> Tensor:
    """Return ``tensor`` rounded to float16 values, in its own dtype.

    If any value is beyond the range of float16, the whole tensor is returned unchanged.
    """
    rounded = tensor.half().to(tensor.dtype)
    return torch.where(rounded.isfinite().all(), rounded, tensor)


class _Rounded(torch.autograd.Function):
    """Rounding with a straight-through gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return round_to_half(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class HalfRounding(nn.Module):
    """Parametrization of a parameter that a task file stores as float16.

    The latent parameter stays float32, since float16 would lose small optimizer steps.
    """

    def forward(self, tensor: Tensor) -> Tensor:
        """Return ``round_to_half(tensor)``, with a straight-through gradient."""
        return _Rounded.apply(tensor)
