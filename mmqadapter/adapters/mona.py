"""Mona: a scaled layer norm and a bottleneck with convolutions on the token grid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.adapters.arguments import require_dropout, require_sizes
from mmqadapter.adapters.base import Matrix, TokenAdapter
from mmqadapter.adapters.conv_adapter import GridConvolution
from mmqadapter.registry import MODELS

KERNEL_SIZES = (3, 5, 7)


class ScaledNorm(nn.Module):
    """Scaled layer norm LN(x) * a + x * b; a starts at 1e-6 and b at 1, both of shape (C,)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.normed_scale = nn.Parameter(torch.full((channels,), 1e-6))
        self.plain_scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize tokens: (..., C) -> (..., C)."""
        return self.norm(x) * self.normed_scale + x * self.plain_scale


@MODELS.register_module()
class Mona(TokenAdapter):
    """Multi-cognitive visual adapter (arXiv 2408.08345, sec. 3).

    In order: scaled norm, down-projection, depthwise convolutions of sizes 3, 5 and 7, projector,
    GELU, up-projection. A block gets two adapters, on the residual stream after attention and
    after the MLP, each with 133 C + 9,728 parameters at width 64. The three projections can be
    quantized.

    Args:
        channels: Channels C of the block.
        width: Width r of the bottleneck.
        dropout: Dropout rate on the bottleneck, in [0, 1).
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: An invalid argument.
    """

    sites = ('attn_stream', 'mlp_stream')
    spatial = True

    def __init__(
        self, channels: int, width: int = 64, dropout: float = 0.1, scale: float | str = 1.0
    ) -> None:
        super().__init__(scale)
        require_sizes(width=width)
        require_dropout(dropout)
        self.norm = ScaledNorm(channels)
        self.down = nn.Linear(channels, width)
        self.mixing = GridConvolution(width, KERNEL_SIZES, bias=True)
        self.projector = nn.Linear(width, width)
        drop = nn.Dropout(dropout) if dropout else nn.Identity()
        self.activation = nn.Sequential(nn.GELU(), drop)
        self.up = nn.Linear(width, channels)
        self.reset_parameters()

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Return down- and up-projection."""
        return [(self.down, self.up)]

    def matrices(self) -> list[Matrix]:
        """Return the pair and the projector between its two layers."""
        return [self.down, self.projector, self.up]

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """Return the mixed bottleneck (B, L, r); ``x`` ends with the grid tokens, row by row."""
        mixed = self.mixing(self.down(self.norm(x)), *grid)
        return self.activation(mixed + self.projector(mixed))

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias of the up-projection."""
        return self.up.weight, self.up.bias
