"""Mona: a bottleneck with several convolutions on the grid, behind a scaled layer norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.adapters.base import Matrix, TokenAdapter
from mmqadapter.adapters.conv_adapter import GridConvolution
from mmqadapter.registry import MODELS

KERNEL_SIZES = (3, 5, 7)


class ScaledNorm(nn.Module):
    """LN(x) * a + x * b, with a small ``a`` and b = 1 at the start; both of shape (C,)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.normed_scale = nn.Parameter(torch.full((channels,), 1e-6))
        self.plain_scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.norm(x) * self.normed_scale + x * self.plain_scale


@MODELS.register_module()
class Mona(TokenAdapter):
    """Scaled norm, down, depthwise 3, 5 and 7, projector, GELU, up (arXiv 2408.08345, sec. 3).

    In a block two of them, on the stream after attention and after the MLP: 133 C + 9,728
    parameters each at width 64. A quantiser takes the three projections.

    Args:
        channels: C, given by the block.
        width: Width r of the bottleneck.
        dropout: Rate on the bottleneck, in [0, 1).
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: An argument outside these values.
    """

    sites = ('attn_stream', 'mlp_stream')
    spatial = True

    def __init__(
        self, channels: int, width: int = 64, dropout: float = 0.1, scale: float | str = 1.0
    ) -> None:
        super().__init__(scale)
        if width < 1:
            raise ValueError(f'width={width} is no bottleneck; use 1 or more.')
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout={dropout} is no rate; use a number in [0, 1).')
        self.norm = ScaledNorm(channels)
        self.down = nn.Linear(channels, width)
        self.mixing = GridConvolution(width, KERNEL_SIZES, bias=True)
        self.projector = nn.Linear(width, width)
        drop = nn.Dropout(dropout) if dropout else nn.Identity()
        self.activation = nn.Sequential(nn.GELU(), drop)
        self.up = nn.Linear(width, channels)
        self.reset_parameters()

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Down and up."""
        return [(self.down, self.up)]

    def matrices(self) -> list[Matrix]:
        """These, and the projector between them."""
        return [self.down, self.projector, self.up]

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """The mixed bottleneck (B, L, r); tokens of the grid come last, row by row."""
        mixed = self.mixing(self.down(self.norm(x)), *grid)
        return self.activation(mixed + self.projector(mixed))

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """Up."""
        return self.up.weight, self.up.bias
