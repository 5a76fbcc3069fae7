"""Formats in which the input of an adapter is saved for backward.

The forward pass computes with the input itself, the backward pass with what the format restores.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class TapFormat(Protocol):
    """Format in which a tensor (..., C) is saved for backward."""

    @staticmethod
    def encode(x: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors to save."""
        ...

    @staticmethod
    def decode(saved: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return the tensor in ``dtype``, with the precision of the format."""
        ...


class FloatTap:
    """Format that saves the tensor itself."""

    @staticmethod
    def encode(x: Tensor) -> tuple[Tensor, ...]:
        """Return the tensor itself."""
        return (x,)

    @staticmethod
    def decode(saved: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return the tensor itself."""
        return saved[0]


class HalfTap:
    """Format of 16 bits per value: bfloat16, which has the range of float32.

    Tensors that have 16 bits or fewer already are saved as they are.
    """

    @staticmethod
    def encode(x: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor."""
        return (x if x.itemsize <= 2 else x.bfloat16(),)

    @staticmethod
    def decode(saved: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return the tensor with a relative error of at most 2^-8 per value."""
        return saved[0].to(dtype)


class Int8Tap:
    """Format of 8 bits per value and one float32 scale per token.

    The largest absolute value of a token is 127 steps.
    """

    @staticmethod
    def encode(x: Tensor) -> tuple[Tensor, ...]:
        """Return codes (..., C) and scales (..., 1)."""
        low, high = torch.aminmax(x, dim=-1, keepdim=True)
        # The lower bound prevents a division by zero for a token of zeros.
        scale = torch.maximum(high, -low).float().clamp_min(1e-30) / 127
        return (x / scale).round_().to(torch.int8), scale

    @staticmethod
    def decode(saved: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return the tensor with errors up to half a step: 1/254 of a token's largest value."""
        codes, scale = saved
        return (codes * scale).to(dtype)


SAVED_TAPS: dict[str, type[TapFormat]] = {'float': FloatTap, 'half': HalfTap, 'int8': Int8Tap}
