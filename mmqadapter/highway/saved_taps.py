"""In which form an adapter's input is kept for the backward pass.

The forward pass computes with the input itself; the backward pass with what was kept of it.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class TapFormat(Protocol):
    """What is kept of a tensor (..., C), and the way back."""

    @staticmethod
    def pack(x: Tensor) -> tuple[Tensor, ...]:
        """Tensors to keep."""
        ...

    @staticmethod
    def unpack(kept: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """The tensor of ``dtype``, as exact as the format is."""
        ...


class FloatTap:
    """As it is."""

    @staticmethod
    def pack(x: Tensor) -> tuple[Tensor, ...]:
        """The tensor itself."""
        return (x,)

    @staticmethod
    def unpack(kept: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """The tensor itself."""
        return kept[0]


class HalfTap:
    """At most 16 bits a value: bfloat16, which has the range of float32, unless it is half yet."""

    @staticmethod
    def pack(x: Tensor) -> tuple[Tensor, ...]:
        """One tensor."""
        return (x if x.itemsize <= 2 else x.bfloat16(),)

    @staticmethod
    def unpack(kept: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Relative error up to 2^-8 a value."""
        return kept[0].to(dtype)


class Int8Tap:
    """8 bits a value and a float32 scale per token: its largest value is 127 steps."""

    @staticmethod
    def pack(x: Tensor) -> tuple[Tensor, ...]:
        """Codes (..., C) and scales (..., 1)."""
        low, high = torch.aminmax(x, dim=-1, keepdim=True)
        # A token of zeros has a scale too.
        scale = torch.maximum(high, -low).float().clamp_min(1e-30) / 127
        return (x / scale).round_().to(torch.int8), scale

    @staticmethod
    def unpack(kept: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Error up to half a step, 1/254 of the token's largest value."""
        codes, scale = kept
        return (codes * scale).to(dtype)


SAVED_TAPS: dict[str, type[TapFormat]] = {'float': FloatTap, 'half': HalfTap, 'int8': Int8Tap}
