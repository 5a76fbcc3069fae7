"""Cells: how the side stream is updated at a tap of the trunk."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters import TokenAdapter
from mmqadapter.highway.residual import FusedResidual, PendingUpdate
from mmqadapter.registry import MODELS, build_own
from mmqadapter.utils.autocast import AutocastState
from mmqadapter.utils.token_grid import Grid

# A nearly constant channel is not amplified by more than ten.
CHANNEL_EPSILON = 1e-2


class Cell(nn.Module):
    """Base of all cells: h + A(input); subclasses define the input of the adapter A.

    Args:
        adapter: A, (B, L, C) -> (B, L, C).
        residual: Calls A and adds its output; decides what is saved for backward.
    """

    spatial: ClassVar[bool] = False  # whether the cell itself needs several tokens

    def __init__(self, adapter: TokenAdapter, residual: FusedResidual) -> None:
        super().__init__()
        self.adapter = adapter
        self.residual = residual

    def forward(self, h: Tensor, tap: Tensor, grid: Grid) -> Tensor:
        """Return the side stream (B, H * W, C) after the tap.

        Args:
            h: Side stream before the tap, changed in place in training; or of shape (1, 1, 1).
            tap: Tokens of the trunk (B, H * W, C), without a graph.
            grid: Height and width.
        """
        return self.residual(h, self.adapter, self.read(h, tap), *self._grid_args(grid))

    def read(self, h: Tensor, tap: Tensor) -> Tensor:
        """Return the input of the adapter, in the shape of ``tap``."""
        raise NotImplementedError

    def update(self, tap: Tensor, grid: Grid) -> PendingUpdate | None:
        """Return the update of the side stream for :func:`add_updates`.

        None if it depends on the side stream or if no gradients are needed: call the cell then.
        """
        return None

    def _grid_args(self, grid: Grid) -> tuple[Grid, ...]:
        return (grid,) if self.adapter.spatial else ()


@MODELS.register_module()
class ParallelCell(Cell):
    """Cell h + A(tap), in which adapters read only the trunk (arXiv 2306.09729)."""

    def read(self, h: Tensor, tap: Tensor) -> Tensor:
        """Return the tap."""
        return tap

    def update(self, tap: Tensor, grid: Grid) -> PendingUpdate | None:
        """Return A(tap), to be added together with other updates."""
        return self.residual.update(self.adapter, tap, *self._grid_args(grid))


@MODELS.register_module()
class JoinedCell(Cell):
    """Cell h + A(LN(tap) + h), in which an adapter reads the trunk and the side stream.

    LN is a layer norm without parameters: it brings taps of all depths, whose magnitudes differ by
    orders, to one scale. Gradients pass from cell to cell also through A.
    """

    def read(self, h: Tensor, tap: Tensor) -> Tensor:
        """Return LN(tap) + h in the dtype of autocast, or else of ``tap``."""
        joined = self.normalize(tap).add_(h)
        autocast = AutocastState.capture(tap.device.type)
        return joined.to(autocast.dtype if autocast.enabled else tap.dtype)

    def normalize(self, tap: Tensor) -> Tensor:
        """Return the tap (B, L, C) with zero mean and unit variance in each token."""
        return F.layer_norm(tap, tap.shape[-1:], eps=1e-6)


@MODELS.register_module()
class StandardizedCell(JoinedCell):
    """Cell h + A(S(LN(tap)) + h), where S standardizes each channel over the tokens of an image.

    In a pretrained trunk a few channels are many times larger than the others, mostly by a constant
    offset. A float adapter learns to weigh them; one of 1 bit, whose weights have equal magnitudes,
    would see little else. Not for data sets whose images show different things: there the mean of a
    channel depends on the image (docs/highway.md).
    """

    spatial = True

    def normalize(self, tap: Tensor) -> Tensor:
        """Return the normed tap (B, L, C) with zero mean and unit variance in each channel."""
        x = super().normalize(tap.float())  # sums over tokens overflow in float16
        x -= x.mean(1, keepdim=True)
        # Unlike x.square(), the norm makes no tensor of the size of x.
        variance = torch.linalg.vector_norm(x, dim=1, keepdim=True).square() / x.shape[1]
        return x * (variance + CHANNEL_EPSILON).rsqrt()


def build_cell(cell: dict, adapter: TokenAdapter, residual: FusedResidual) -> Any:
    """Build a cell around an adapter.

    Args:
        cell: Config of the cell, with its type.
        adapter: The adapter.
        residual: Calls the adapter and adds its output; decides what is saved for backward.

    Raises:
        ValueError: The config has arguments that the cell does not accept.
    """
    return build_own('cell', cell, adapter=adapter, residual=residual)
