"""Parameters that are stored as float16 and trained so."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def round_to_half(tensor: Tensor) -> Tensor:
    """The float16 values next to ``tensor``, in its dtype.

    Unchanged as a whole where one of its values is beyond the range of float16.
    """
    rounded = tensor.half().to(tensor.dtype)
    return torch.where(rounded.isfinite().all(), rounded, tensor)


class _Rounded(torch.autograd.Function):
    """Rounding with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return round_to_half(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class HalfRounding(nn.Module):
    """Parametrisation of a parameter that a task file holds as float16.

    The latent parameter stays float32, since small steps would be lost in float16.
    """

    def forward(self, tensor: Tensor) -> Tensor:
        """``tensor`` as :func:`round_to_half` gives it; straight-through backward."""
        return _Rounded.apply(tensor)
