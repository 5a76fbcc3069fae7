"""MLPs of a frozen trunk in pieces of tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from mmqadapter.backbones.acceleration.chunks import CHUNK, fits_chunks
from mmqadapter.backbones.acceleration.class_swap import FastForward, specialize


class ChunkedForward(FastForward):
    """A module that maps each token (..., C) alone, such as an MLP, run over pieces of them.

    On a CPU, where no gradient is wanted; else as the stock module, in one call.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., C) -> (..., C')."""
        if x.numel() <= CHUNK * x.shape[-1] or not fits_chunks(self, x):
            return super().forward(x, *args, **kwargs)
        first, *chunks = x.flatten(0, -2).split(CHUNK)
        start = super().forward(first, *args, **kwargs)
        output = start.new_empty(*x.shape[:-1], start.shape[-1])
        into, *rest = output.flatten(0, -2).split(CHUNK)
        into.copy_(start)
        for chunk, into in zip(chunks, rest, strict=True):
            into.copy_(super().forward(chunk, *args, **kwargs))
        return output


def run_chunked(modules: Iterable[nn.Module]) -> None:
    """Run these modules, each of which maps every token alone, over pieces of their tokens."""
    for module in modules:
        specialize(module, ChunkedForward)
