"""Adapters in the path of a block: built for it and tied to its sites."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmqadapter.adapters import Adapter, build_adapter
from mmqadapter.backbones.block_family import BlockFamily
from mmqadapter.backbones.sites import SITES
from mmqadapter.backbones.token_grid import TokenGrid


class OnGrid:
    """A spatial adapter as a site calls it, with tokens alone.

    Args:
        adapter: Takes tokens and their grid.
        grid: Where that is read.
    """

    def __init__(self, adapter: Adapter, grid: TokenGrid) -> None:
        self.adapter = adapter
        self.grid = grid

    def __call__(self, x: Tensor) -> Tensor:
        """Change to add: (B, L, C) or (B, H, W, C), to the same."""
        return self.adapter(x.flatten(1, -2), self.grid.size).view_as(x)


def adapt_block(
    trunk: nn.Module, block: nn.Module, family: BlockFamily, adapter: dict, quantizer: dict | None
) -> nn.ModuleDict:
    """Put new adapters into a block's path, one for each of their sites.

    Args:
        trunk: The net.
        block: One of its blocks.
        family: Its row.
        adapter: Config, such as ``dict(type='AdaptFormer', width=32)``.
        quantizer: Config, or None for float adapters.

    Returns:
        The adapters, by site; nothing else holds them for saving or training.

    Raises:
        ValueError: Unknown types or arguments.
    """
    norm: Any = block.get_submodule(family.mlp_in)  # a LayerNorm or one of timm's own
    channels = norm.normalized_shape[0]
    first = build_adapter(adapter, quantizer, channels=channels)
    others = [build_adapter(adapter, quantizer, channels=channels) for _ in first.sites[1:]]
    adapters = dict(zip(first.sites, [first, *others], strict=True))
    for site, module in adapters.items():
        called = OnGrid(module, TokenGrid(trunk, block, family)) if module.spatial else module
        SITES[site](called, block, family)
    return nn.ModuleDict(adapters)
