"""Where the token grid (H, W) of a block is read."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmqadapter.backbones.block_family import BlockFamily


class TokenGrid:
    """Grid of a block's tokens in the forward that runs, for what hooks on the block do.

    Where the attention branch is told the grid, or gets tokens (B, H, W, C), it is read there:
    inside what activation checkpointing computes again, so that it is right then too. Otherwise
    the patch embedding tells it, and a block that is computed again takes that of the last images.

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
        """Of (tokens, grid), or tokens (B, H, W, C)."""
        self.size = tuple(output[1] if isinstance(output, tuple) else output.shape[1:3])

    def _read_branch(self, module: nn.Module, args: tuple) -> None:
        tokens, *grid = args
        self.size = tuple(grid[0] if grid else tokens.shape[1:3])
