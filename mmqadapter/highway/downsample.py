"""Mergings of the side stream between two stages; linear, so that a zero stream stays zero."""

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
    """The trunk's own patch merging, frozen, without its normalization.

    The stock merging begins with a LayerNorm. Its gradient at a zero stream is far too large, and
    its bias would make a zero stream non-zero. Here only its weight is used, and each merged token
    is divided by the standard deviation of the trunk's token at the same position, a constant: a
    small side stream is scaled as the trunk scales a small change of its own stream.

    Args:
        norm: The trunk's norm over 4 C channels; None if it has none.
        reduction: The trunk's projection 4 C -> C'; its bias is ignored.
        order: Order in which the trunk puts 2 x 2 tokens into 4 C channels; see
            :func:`patch_weights`.

    Attributes:
        stride: Tokens of each side of the grid that become one.
    """

    stride = 2

    def __init__(self, norm: nn.LayerNorm | None, reduction: nn.Linear, order: str) -> None:
        super().__init__()
        # In a tuple, which hides them from PyTorch: the trunk owns and saves them.
        self._inherited = (norm, reduction)
        self._order = order
        self._cache = TensorCache()

    def forward(self, h: Tensor, trunk: Tensor, grid: Grid) -> Tensor:
        """Merge 2 x 2 tokens: (B, H * W, C) -> (B, ceil(H/2) * ceil(W/2), C').

        Args:
            h: Side stream.
            trunk: The trunk's stream at the end of the stage, same shape, without a graph.
            grid: Height and width of both.
        """
        norm, reduction = self._inherited
        factors = [reduction.weight] if norm is None else [reduction.weight, norm.weight]
        weight = self._cache.get(self._weight, *factors)
        merged = _FrozenLinear.apply(to_patches(h, grid).to(weight.dtype), weight)
        if norm is None:
            return merged.to(h.dtype)
        # One deviation per token: after the projection there are fewer channels to divide.
        return (merged / patch_std(trunk, grid, norm.eps)).to(h.dtype)

    def _weight(self) -> Tensor:
        """Return projection times norm weight (C', 4 C), in the order of :func:`to_patches`."""
        norm, reduction = self._inherited
        weight = reduction.weight if norm is None else reduction.weight * norm.weight
        return patch_weights(weight, self._order)


class _FrozenLinear(torch.autograd.Function):
    """x W^T with a frozen W that its owner keeps alive: no activation memory for backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.weight = weight
        return F.linear(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad @ ctx.weight.to(grad.dtype), None


class LowRankMerging(nn.Module):
    """Trained low-rank merging of 2 x 2 tokens, 4 C -> r -> C'.

    It has r (4 C + C') weights and no biases. In a trunk that keeps the grid (``stride`` 1) it maps
    single tokens, C -> r -> C'.

    Args:
        channels: C.
        outputs: C'.
        rank: r.
        crops: Leave out the last row and column of an odd grid, as the trunk does.
        stride: Tokens of each side of the grid that become one: 1 or 2.
    """

    def __init__(
        self, channels: int, outputs: int, rank: int = 16, crops: bool = False, stride: int = 2
    ) -> None:
        super().__init__()
        self.crops, self.stride = crops, stride
        self.down = nn.Linear(channels * stride**2, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)
        for layer in (self.down, self.up):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))

    def quantize(self, quantizer: dict) -> None:
        """Parametrize both matrices with quantizers built from the config ``quantizer``."""
        quantize_matrices((self.down, self.up), quantizer)

    def forward(self, h: Tensor, trunk: Tensor, grid: Grid) -> Tensor:
        """Merge 2 x 2 tokens: (B, H * W, C) -> (B, ceil(H/2) * ceil(W/2), C').

        ``trunk`` is ignored.
        """
        if self.crops:
            height, width = (size // 2 * 2 for size in grid)
            h = h.unflatten(1, grid)[:, :height, :width].flatten(1, 2)
            grid = height, width
        patches = h if self.stride == 1 else to_patches(h, grid)
        return self.up(self.down(patches.to(self.down.weight.dtype))).to(h.dtype)


@torch.no_grad()
def patch_std(tokens: Tensor, grid: Grid, eps: float) -> Tensor:
    """Return the standard deviation of each merged token, as a LayerNorm over 4 C channels does.

    Args:
        tokens: (B, H * W, C).
        grid: Height and width.
        eps: Added to the variance.

    Returns:
        (B, ceil(H/2) * ceil(W/2), 1), in float32 or a wider dtype.
    """
    # Computed from the statistics of single tokens, which avoids patches of the whole stream.
    # torch.var_mean gives the same and takes five times as long on a CPU.
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    mean = tokens.mean(-1, keepdim=True, dtype=dtype)
    var = torch.linalg.vector_norm(tokens - mean, dim=-1, keepdim=True).square() / tokens.shape[-1]
    within, between = (to_patches(x, grid) for x in (var, mean))
    var = within.mean(-1, keepdim=True) + between.var(-1, correction=0, keepdim=True)
    return (var + eps).sqrt()
