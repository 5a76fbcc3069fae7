"""MLPs of a frozen trunk, computed over chunks of tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from mmqadapter.backbones.acceleration.chunks import CHUNK, fits_chunks
from mmqadapter.backbones.acceleration.class_swap import FastForward, specialize


class ChunkedForward(FastForward):
    """Forward over chunks of tokens, for modules that map each token by itself, such as an MLP.

    It takes chunks on a CPU when no gradient is needed; otherwise it is the stock forward.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map tokens (..., C) to (..., C')."""
        if x.numel() <= CHUNK * x.shape[-1] or not fits_chunks(self, x):
            return super().forward(x, *args, **kwargs)
        chunk, *chunks = x.flatten(0, -2).split(CHUNK)
        result = super().forward(chunk, *args, **kwargs)
        output = result.new_empty(*x.shape[:-1], result.shape[-1])
        target, *targets = output.flatten(0, -2).split(CHUNK)
        target.copy_(result)
        for chunk, target in zip(chunks, targets, strict=True):
            target.copy_(super().forward(chunk, *args, **kwargs))
        return output


def run_chunked(modules: Iterable[nn.Module]) -> None:
    """Let modules that map each token by itself compute over chunks of tokens."""
    for module in modules:
        specialize(module, ChunkedForward)
