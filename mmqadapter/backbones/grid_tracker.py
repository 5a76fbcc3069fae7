"""Track the token grid (H, W) of a block."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmqadapter.backbones.family import BlockFamily


class GridTracker:
    """Grid of a block's tokens in the current forward, for hooks on the block.

    Where the attention branch gets the grid as an argument, or tokens (B, H, W, C), the grid is
    read there, inside what activation checkpointing recomputes, so that it is right then too.
    Otherwise the patch embedding's output has it, and a recomputed block sees the grid of the last
    images.

    Args:
        trunk: The net.
        block: The block.
        family: Its row.
    """

    def __init__(self, trunk: nn.Module, block: nn.Module, family: BlockFamily) -> None:
        self.size = (0, 0)
        if family.grid:
            trunk.get_submodule(family.grid).register_forward_hook(self._read_embedding)
        else:
            branch = block.get_submodule(family.attn_branch)
            branch.register_forward_pre_hook(self._read_branch)

    def _read_embedding(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Read (tokens, grid), or tokens (B, H, W, C)."""
        self.size = tuple(output[1] if isinstance(output, tuple) else output.shape[1:3])

    def _read_branch(self, module: nn.Module, args: tuple) -> None:
        tokens, *grid = args
        self.size = tuple(grid[0] if grid else tokens.shape[1:3])
