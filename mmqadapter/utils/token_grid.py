"""Tokens (B, L, C) as a grid (H, W): which of them lie on it, patches of it, maps.

Tokens are row-major; class and register tokens come first.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

Grid = tuple[int, int]


def grid_tokens(tokens: Tensor, grid: Grid) -> Tensor:
    """The tokens (B, H * W, C) on the grid, without class and register tokens.

    Raises:
        ValueError: There are fewer tokens than places.
    """
    height, width = grid
    leading = tokens.shape[1] - height * width
    if leading < 0:
        raise ValueError(
            f'{tokens.shape[1]} tokens do not fill a grid of {height} x {width}; check where the '
            "block table's row of this backbone takes the grid from."
        )
    return tokens[:, leading:] if leading else tokens


def to_patches(tokens: Tensor, grid: Grid) -> Tensor:
    """Neighbours side by side in each token: (B, H * W, C) -> (B, ceil(H/2) * ceil(W/2), 4 C).

    The 4 C values lie as row, column, channel, from slow to fast. Odd grids are padded with zeros
    at the bottom and right.

    Args:
        tokens: Tokens of the grid alone.
        grid: Height and width.
    """
    (batch, _, channels), (height, width) = tokens.shape, grid
    x = tokens.reshape(batch, height, width, channels)
    x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
    x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # B, H/2, row, W/2, column, C
    return x.transpose(2, 3).reshape(batch, -1, 4 * channels)


def patch_weights(weight: Tensor, order: str) -> Tensor:
    """Weights (..., 4 C) for :func:`to_patches`, of those for patches that lie in another order.

    Args:
        weight: The last axis belongs to the values of a patch.
        order: How these lie, from slow to fast: ``'row column channel'`` in any order.
    """
    names, sizes = order.split(), {'row': 2, 'column': 2, 'channel': weight.shape[-1] // 4}
    axes = [names.index(name) - 3 for name in ('row', 'column', 'channel')]
    leading = range(weight.ndim - 1)
    return weight.unflatten(-1, [sizes[n] for n in names]).permute(*leading, *axes).flatten(-3)


def as_map(tokens: Tensor, grid: Grid) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W) without a copy, channels last in memory."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def to_map(tokens: Tensor, grid: Grid) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W), contiguous."""
    return as_map(tokens, grid).contiguous()
