"""Cells: how a tap of the trunk changes the side stream."""

from __future__ import annotations

from torch import Tensor, nn

from mmqadapter.highway.grid import Grid
from mmqadapter.highway.recompute import Recompute


class ParallelCell(nn.Module):
    """h + A(tap): adapters read the trunk alone, so none waits for another (arXiv 2306.09729).

    Args:
        adapter: A, (B, L, C) -> (B, L, C).
        recompute: How A is called, and what it keeps for backward.
    """

    def __init__(self, adapter: nn.Module, recompute: Recompute) -> None:
        super().__init__()
        self.adapter = adapter
        self.recompute = recompute

    def forward(self, h: Tensor, tap: Tensor, grid: Grid) -> Tensor:
        """Side stream after the tap, (B, H * W, C); ``h`` may be of shape (1, 1, 1)."""
        return h + self.recompute(self.adapter, tap)
