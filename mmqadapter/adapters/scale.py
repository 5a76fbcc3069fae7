"""Scale of an adapter's output: fixed or learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FixedScale(nn.Module):
    """Multiplication by a constant."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x`` of any shape."""
        return x if self.value == 1 else x * self.value

    def extra_repr(self) -> str:
        """Return the value, for ``print(model)``."""
        return str(self.value)


class LearnedScale(nn.Module):
    """Multiplication by one trained number.

    It starts at 1, or at 0 in a quantized adapter, whose weights cannot be zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x`` of any shape."""
        return x * self.weight


def build_scale(scale: float | str) -> FixedScale | LearnedScale:
    """Build the scale module of an adapter.

    Args:
        scale: A finite number other than zero, or ``'learned'``.

    Raises:
        ValueError: ``scale`` is anything else.
    """
    if scale == 'learned':
        return LearnedScale()
    if isinstance(scale, (int, float)) and scale != 0 and abs(scale) < float('inf'):
        return FixedScale(float(scale))
    raise ValueError(
        f"scale={scale!r} is invalid: expected a finite number other than 0, or 'learned'."
    )
