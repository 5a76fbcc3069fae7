"""MLPs of a frozen trunk in pieces of tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from mmqadapter.backbones.acceleration.chunks import PIECE, fits_pieces
from mmqadapter.backbones.acceleration.class_swap import Way, compute_as


class PiecewiseForward(Way):
    """A module that maps each token (..., C) alone, such as an MLP, run over pieces of them.

    On a CPU, where no gradient is wanted; else as the stock module, in one call.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., C) -> (..., C')."""
        if x.numel() <= PIECE * x.shape[-1] or not fits_pieces(self, x):
            return super().forward(x, *args, **kwargs)
        first, *pieces = x.flatten(0, -2).split(PIECE)
        start = super().forward(first, *args, **kwargs)
        output = start.new_empty(*x.shape[:-1], start.shape[-1])
        into, *rest = output.flatten(0, -2).split(PIECE)
        into.copy_(start)
        for piece, into in zip(pieces, rest, strict=True):
            into.copy_(super().forward(piece, *args, **kwargs))
        return output


def run_in_pieces(modules: Iterable[nn.Module]) -> None:
    """Run these modules, each of which maps every token alone, over pieces of their tokens."""
    for module in modules:
        compute_as(module, PiecewiseForward)
