"""How the side stream gets from one stage to the next: linear in it, and zero at zero."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters import quantize_matrices
from mmqadapter.utils.tensor_cache import TensorCache
from mmqadapter.utils.token_grid import Grid, patch_weights, to_patches


class InheritedMerging(nn.Module):
    """The trunk's own patch merging, frozen, without its normalisation.

    The stock one begins with a LayerNorm, whose gradient at a zero stream is far too large and
    whose bias would leave zero. Here its weight stays, and each merged token is divided by the
    standard deviation that the trunk's own has at this place, a constant: a small side stream is
    scaled as the trunk scales a small change of its own.

    Args:
        norm: The trunk's norm over 4 C channels; None where it has none.
        reduction: The trunk's projection 4 C -> C'; a bias of it is left out.
        order: How the trunk lays out 2 x 2 tokens in 4 C channels; see :func:`patch_weights`.
    """

    def __init__(self, norm: nn.LayerNorm | None, reduction: nn.Linear, order: str) -> None:
        super().__init__()
        # In a tuple, where PyTorch does not look: they belong to the trunk, which saves them.
        self._inherited = (norm, reduction)
        self._order = order
        self._cache = TensorCache()

    def forward(self, h: Tensor, trunk: Tensor, grid: Grid) -> Tensor:
        """(B, H * W, C) -> (B, ceil(H/2) * ceil(W/2), C').

        Args:
            h: Side stream.
            trunk: The trunk's stream at this place, same shape, without a graph.
            grid: Its height and width.
        """
        norm, reduction = self._inherited
        factors = [reduction.weight] if norm is None else [reduction.weight, norm.weight]
        weight = self._cache.get(self._weight, *factors)
        merged = _Constant.apply(to_patches(h, grid).to(weight.dtype), weight)
        if norm is None:
            return merged.to(h.dtype)
        # The deviation is one for each token: behind the projection fewer channels are divided.
        return (merged / patch_std(trunk, grid, norm.eps)).to(h.dtype)

    def _weight(self) -> Tensor:
        """Of norm and projection, (C', 4 C), for patches as they are cheapest to make."""
        norm, reduction = self._inherited
        weight = reduction.weight if norm is None else reduction.weight * norm.weight
        return patch_weights(weight, self._order)


class _Constant(torch.autograd.Function):
    """x W^T for a W that does not train and is held elsewhere: nothing is kept for backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.weight = weight
        return F.linear(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad @ ctx.weight.to(grad.dtype), None


class LowRankMerging(nn.Module):
    """A trained merging, 2 x 2 tokens -> r -> C', without biases: r (4 C + C') weights.

    Args:
        channels: C.
        outputs: C'.
        rank: r.
    """

    def __init__(self, channels: int, outputs: int, rank: int = 16) -> None:
        super().__init__()
        self.down = nn.Linear(4 * channels, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)
        for layer in (self.down, self.up):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))

    def quantize(self, quantizer: dict) -> None:
        """Put both matrices behind quantisers built from ``quantizer``."""
        quantize_matrices((self.down, self.up), quantizer)

    def forward(self, h: Tensor, trunk: Tensor, grid: Grid) -> Tensor:
        """(B, H * W, C) -> (B, ceil(H/2) * ceil(W/2), C'); ``trunk`` is not looked at."""
        patches = to_patches(h, grid)
        return self.up(self.down(patches.to(self.down.weight.dtype))).to(h.dtype)


@torch.no_grad()
def patch_std(tokens: Tensor, grid: Grid, eps: float) -> Tensor:
    """Standard deviation of each merged token, as a LayerNorm over its 4 C channels has it.

    Args:
        tokens: (B, H * W, C).
        grid: Height and width.
        eps: Added to the variance.

    Returns:
        (B, ceil(H/2) * ceil(W/2), 1), at least float32.
    """
    # From the statistics of single tokens: no patches of the stream are needed. torch.var_mean
    # does the same in five times the time on a CPU.
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    mean = tokens.mean(-1, keepdim=True, dtype=dtype)
    var = torch.linalg.vector_norm(tokens - mean, dim=-1, keepdim=True).square() / tokens.shape[-1]
    within, between = (to_patches(x, grid) for x in (var, mean))
    var = within.mean(-1, keepdim=True) + between.var(-1, correction=0, keepdim=True)
    return (var + eps).sqrt()
