"""Cells: how a tap of the trunk changes the side stream."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters import TokenAdapter
from mmqadapter.highway.residual import FusedResidual, PendingUpdate
from mmqadapter.registry import MODELS, build_own
from mmqadapter.utils.token_grid import Grid


class Cell(nn.Module):
    """Base of all cells: h + A(what the adapter reads); subclasses say what it reads.

    Args:
        adapter: A, (B, L, C) -> (B, L, C).
        residual: How A is called and added, and what it keeps for backward.
    """

    def __init__(self, adapter: TokenAdapter, residual: FusedResidual) -> None:
        super().__init__()
        self.adapter = adapter
        self.residual = residual

    def forward(self, h: Tensor, tap: Tensor, grid: Grid) -> Tensor:
        """Side stream after the tap, (B, H * W, C).

        ``h`` is the stream before, whose memory the new one takes in training, or of shape
        (1, 1, 1).
        """
        return self.residual(h, self.adapter, self.read(h, tap), *self._place(grid))

    def read(self, h: Tensor, tap: Tensor) -> Tensor:
        """Input of the adapter, shape and dtype of ``tap``; it alone is kept for backward."""
        raise NotImplementedError

    def update(self, tap: Tensor, grid: Grid) -> PendingUpdate | None:
        """What is added after the tap, for :func:`add_updates`, if that does not depend on ``h``.

        None if it does, and where no gradients are wanted: call the cell.
        """
        return None

    def _place(self, grid: Grid) -> tuple[Grid, ...]:
        return (grid,) if self.adapter.spatial else ()


@MODELS.register_module()
class ParallelCell(Cell):
    """h + A(tap): adapters read the trunk alone, so none waits for another (arXiv 2306.09729)."""

    def read(self, h: Tensor, tap: Tensor) -> Tensor:
        """The tap."""
        return tap

    def update(self, tap: Tensor, grid: Grid) -> PendingUpdate | None:
        """A(tap), to be added with others."""
        return self.residual.update(self.adapter, tap, *self._place(grid))


@MODELS.register_module()
class JoinedCell(Cell):
    """h + A(LN(tap) + h): an adapter reads the trunk and what the highway has made of it so far.

    LN is a layer norm without parameters: taps of all depths, whose sizes differ by orders of
    magnitude, meet the side stream at one size. Gradients go from cell to cell through A as well.
    """

    def read(self, h: Tensor, tap: Tensor) -> Tensor:
        """The joined tokens, rounded to the tap's dtype after the sum."""
        normed = F.layer_norm(tap, tap.shape[-1:], eps=1e-6)
        return normed.to(torch.promote_types(normed.dtype, h.dtype)).add_(h).to(tap.dtype)


def build_cell(cell: dict, adapter: TokenAdapter, residual: FusedResidual) -> Any:
    """Cell around an adapter.

    Args:
        cell: Config with its type.
        adapter: The adapter.
        residual: How it is called and added, and what it keeps for backward.

    Raises:
        ValueError: Arguments that the cell refuses.
    """
    return build_own(cell, adapter=adapter, residual=residual)
