"""Outputs of a highway: a map of the joined stream, its class token or its mean."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from mmqadapter.utils.token_grid import Grid, grid_tokens, to_map

# Called with the norm of the output, tokens (B, L, C) of trunk and side stream joined, their grid
# (H, W), and whether the norm takes maps (B, C, H, W).
Readout = Callable[[nn.Module, Tensor, Grid, bool], Tensor]


def read_map(norm: nn.Module, tokens: Tensor, grid: Grid, on_maps: bool) -> Tensor:
    """Return the normed tokens of the grid as a map (B, C, H, W)."""
    return normed_map(norm, grid_tokens(tokens, grid), grid, on_maps)


def normed_map(norm: nn.Module, tokens: Tensor, grid: Grid, on_maps: bool) -> Tensor:
    """Return normed tokens (B, H * W, C) as a map; a norm ``on_maps`` takes and returns maps."""
    return norm(to_map(tokens, grid)) if on_maps else to_map(norm(tokens), grid)


def read_class_token(norm: nn.Module, tokens: Tensor, grid: Grid, on_maps: bool) -> Tensor:
    """Return the normed class token (B, C)."""
    return norm(tokens)[:, 0]


def read_pooled(norm: nn.Module, tokens: Tensor, grid: Grid, on_maps: bool) -> Tensor:
    """Return the norm of the mean over the grid (B, C), as classifiers of maps use it."""
    mean = to_map(grid_tokens(tokens, grid), grid).mean([-2, -1], keepdim=True)
    return (norm(mean) if on_maps else norm(mean.movedim(1, -1)).movedim(-1, 1)).flatten(1)


class MeanReadout:
    """Readout of the mean over the grid (B, C) behind the norm of the output.

    Args:
        norm: Norm of the mean, frozen; None for none. Its weights could be merged into a linear
            layer that follows.
    """

    def __init__(self, norm: nn.Module | None = None) -> None:
        self.norm = norm

    def __call__(self, norm: nn.Module, tokens: Tensor, grid: Grid, on_maps: bool) -> Tensor:
        """Return the mean (B, C)."""
        tokens = grid_tokens(tokens, grid)
        if on_maps:
            mean = normed_map(norm, tokens, grid, on_maps).flatten(2).transpose(1, 2).mean(1)
        else:
            mean = norm(tokens).mean(1)
        return mean if self.norm is None else self.norm(mean)
