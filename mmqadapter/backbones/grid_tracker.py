"""Track the token grid (H, W) of a block."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.select import find_child


class GridTracker:
    """Grid of a block's tokens in the current forward, for hooks on the block.

    Where a child of the block gets the grid as an argument, or tokens in the shape of the grid, it
    is read there, inside what activation checkpointing recomputes, so that it is right then too.
    Otherwise the patch embedding's output has it, and a recomputed block sees the grid of the last
    images. Blocks of convolutions have none: their outputs are maps, which tell their own grid.

    Args:
        trunk: The net.
        block: The block.
        family: Its row.
    """

    def __init__(self, trunk: nn.Module, block: nn.Module, family: BlockFamily) -> None:
        self.size = (0, 0)
        self._axes = slice(2, 4) if family.channels_first else slice(1, 3)
        if family.grid:
            embedding = find_child(trunk, family.grid.format(_number(trunk, block, family)))
            assert embedding is not None, f'{type(trunk).__name__} has no {family.grid}'
            embedding.register_forward_hook(self._read_embedding)
        elif name := family.block_grid or family.attn_branch or family.mlp_in:
            block.get_submodule(name).register_forward_pre_hook(self._read_argument)

    def _read_embedding(self, module: Any, args: tuple, output: Any) -> None:
        """Read (tokens, grid), a map, tokens in its shape, or (B, L, C) of an embedding of one."""
        if isinstance(module, nn.Conv2d):
            self.size = tuple(output.shape[2:])
        elif isinstance(output, tuple):
            self.size = tuple(output[1])
        else:
            self.size = tuple(output.shape[self._axes] if output.ndim == 4 else module.grid_size)

    def _read_argument(self, module: nn.Module, args: tuple) -> None:
        tokens, *grid = args
        self.size = tuple(grid[0] if grid else tokens.shape[self._axes])


def _number(trunk: nn.Module, block: nn.Module, family: BlockFamily) -> str:
    """Return what group 1 of ``blocks`` is for a block."""
    name = next(name for name, module in trunk.named_modules() if module is block)
    match = re.fullmatch(family.blocks, name)
    assert match is not None
    return match[1]
