"""Convolutional adapter: a bottleneck with depthwise convolutions on the token grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters.arguments import is_size, require_flag, require_sizes
from mmqadapter.adapters.base import TokenAdapter
from mmqadapter.registry import MODELS
from mmqadapter.utils.token_grid import Grid, as_map, grid_tokens


class GridConvolution(nn.Module):
    """Residual mean of depthwise convolutions on the token grid: x + mean(conv_i(x)).

    It is computed as one convolution, with the mean of the kernels. Class and register tokens
    pass unchanged.

    Args:
        channels: Channels r of the tokens.
        kernel_sizes: Odd sizes, one convolution each; the grid is padded with zeros.
        bias: Whether the convolutions have a bias.
    """

    def __init__(self, channels: int, kernel_sizes: Sequence[int], bias: bool) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=bias)
            for size in kernel_sizes
        )

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """Mix tokens with their neighbors on the grid: (B, L, r) -> (B, L, r).

        Raises:
            ValueError: There are fewer tokens than the grid has cells.
        """
        tokens = grid_tokens(x, grid)
        leading = x[:, : x.shape[1] - tokens.shape[1]]
        weight, bias = self._mean_kernel()
        padding, groups = weight.shape[-1] // 2, len(weight)
        maps = F.conv2d(as_map(tokens, grid), weight, bias, padding=padding, groups=groups)
        mixed = tokens + maps.flatten(2).transpose(1, 2)
        return torch.cat([leading, mixed], 1) if leading.shape[1] else mixed

    def _mean_kernel(self) -> tuple[Tensor, Tensor | None]:
        """Return the mean of all kernels, (C, 1, K, K) for the largest size K, and of biases."""
        weights, biases = zip(*((c.weight, c.bias) for c in self.convolutions), strict=True)
        if len(weights) == 1:
            return weights[0], biases[0]
        largest = max(weight.shape[-1] for weight in weights)
        weight = torch.stack([_centered(weight, largest) for weight in weights]).mean(0)
        return weight, None if biases[0] is None else torch.stack(biases).mean(0)


def _centered(kernel: Tensor, size: int) -> Tensor:
    """Pad a kernel (C, 1, k, k) with zeros on all sides to (C, 1, size, size)."""
    return F.pad(kernel, [(size - kernel.shape[-1]) // 2] * 4)


@MODELS.register_module()
class ConvAdapter(TokenAdapter):
    """Bottleneck with a residual depthwise convolution: up(z + conv(z)), z = GELU(down(x)).

    The convolutions are where Mona has them (arXiv 2408.08345). A block gets two adapters, after
    attention and after the MLP, each with 2 C r weights and r weights per kernel element. Only the
    projections are quantized: a kernel has few weights, each with its own meaning (center,
    neighbor), and rounding errors do not average out as they do in a large matrix.

    Args:
        channels: Channels C of the block.
        width: Width r of the bottleneck.
        kernel_size: Odd size in tokens, or several, whose outputs are averaged.
        bias: Whether projections and convolutions have biases.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: An invalid argument.
    """

    sites = ('attn_branch', 'mlp_branch')
    spatial = True

    def __init__(
        self,
        channels: int,
        width: int,
        kernel_size: int | Sequence[int] = 3,
        bias: bool = True,
        scale: float | str = 1.0,
    ) -> None:
        super().__init__(scale)
        require_sizes(width=width)
        require_flag(bias=bias)
        sizes = kernel_size if isinstance(kernel_size, Sequence) else (kernel_size,)
        if not sizes or not all(is_size(size) and size % 2 for size in sizes):
            raise ValueError(
                f'kernel_size={kernel_size!r} is invalid: expected odd sizes, such as 3 or (3, 5).'
            )
        self.down = nn.Linear(channels, width, bias=bias)
        self.activation = nn.GELU()
        self.mixing = GridConvolution(width, sizes, bias)
        self.up = nn.Linear(width, channels, bias=bias)
        self.reset_parameters()

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Return the only pair."""
        return [(self.down, self.up)]

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """Return the mixed bottleneck (B, L, r); ``x`` ends with the grid tokens, row by row."""
        return self.mixing(self.activation(self.down(x)), *grid)

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias of the up-projection."""
        return self.up.weight, self.up.bias
