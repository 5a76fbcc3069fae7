"""Scale of an adapter's output: fixed or learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FixedScale(nn.Module):
    """Multiply by a constant."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x``, any shape."""
        return x if self.value == 1 else x * self.value

    def extra_repr(self) -> str:
        """Value, for ``print(model)``."""
        return str(self.value)


class LearnedScale(nn.Module):
    """Multiply by one trained number, 1 at the start (0 where the weights cannot be zero)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x``, any shape."""
        return x * self.weight


def build_scale(scale: float | str) -> FixedScale | LearnedScale:
    """Scale module of an adapter.

    Args:
        scale: A finite number other than zero, or ``'learned'``.

    Raises:
        ValueError: Anything else.
    """
    if scale == 'learned':
        return LearnedScale()
    if isinstance(scale, (int, float)) and scale != 0 and abs(scale) < float('inf'):
        return FixedScale(float(scale))
    raise ValueError(f"scale={scale!r} is unknown; use a finite number but 0, or 'learned'.")
