"""Conversions between tokens (B, L, C) and their grid (H, W): patches and feature maps.

The tokens of the grid are row-major; class and register tokens come before them.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

Grid = tuple[int, int]


def grid_tokens(tokens: Tensor, grid: Grid) -> Tensor:
    """Return the tokens (B, H * W, C) of the grid, without class and register tokens.

    Raises:
        ValueError: There are fewer tokens than grid positions.
    """
    height, width = grid
    leading = tokens.shape[1] - height * width
    if leading < 0:
        raise ValueError(
            f'{tokens.shape[1]} tokens do not fill a grid of {height} x {width}: check where the '
            'row of this backbone in the block table takes the grid from.'
        )
    return tokens[:, leading:] if leading else tokens


def to_patches(tokens: Tensor, grid: Grid) -> Tensor:
    """Join patches of 2 x 2 tokens: (B, H * W, C) -> (B, ceil(H/2) * ceil(W/2), 4 C).

    The 4 C values are ordered by row, column, channel, the channel varying fastest. Odd grids are
    padded with zeros at the bottom and right.

    Args:
        tokens: Tokens of the grid only.
        grid: Height and width.
    """
    (batch, _, channels), (height, width) = tokens.shape, grid
    x = tokens.reshape(batch, height, width, channels)
    x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
    x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # B, H/2, row, W/2, column, C
    return x.transpose(2, 3).reshape(batch, -1, 4 * channels)


def patch_weights(weight: Tensor, order: str) -> Tensor:
    """Reorder weights (..., 4 C) for patches in another order to that of :func:`to_patches`.

    Args:
        weight: Weight whose last axis runs over the values of a patch.
        order: Their present order, the fastest last: the words ``row column channel`` permuted.
    """
    names, sizes = order.split(), {'row': 2, 'column': 2, 'channel': weight.shape[-1] // 4}
    axes = [names.index(name) - 3 for name in ('row', 'column', 'channel')]
    leading = range(weight.ndim - 1)
    return weight.unflatten(-1, [sizes[n] for n in names]).permute(*leading, *axes).flatten(-3)


def as_map(tokens: Tensor, grid: Grid) -> Tensor:
    """Return tokens (B, H * W, C) as a map (B, C, H, W): a view, channels last in memory."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def to_map(tokens: Tensor, grid: Grid) -> Tensor:
    """Return tokens (B, H * W, C) as a contiguous map (B, C, H, W)."""
    return as_map(tokens, grid).contiguous()
