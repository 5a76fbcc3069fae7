"""Build the adapters of a block and tie them to its sites."""

from __future__ import annotations

from torch import Tensor, nn

from mmqadapter.adapters import Adapter, build_adapter
from mmqadapter.backbones.block_plan import block_channels
from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.grid_tracker import GridTracker
from mmqadapter.backbones.sites import SITES


class OnGrid:
    """Spatial adapter that a site calls with tokens alone.

    Args:
        adapter: Takes tokens and their grid.
        grid: Tracker of that grid.
    """

    def __init__(self, adapter: Adapter, grid: GridTracker) -> None:
        self.adapter = adapter
        self.grid = grid

    def __call__(self, x: Tensor) -> Tensor:
        """Return the change to add, shape of ``x``: (B, L, C) or (B, H, W, C)."""
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
        The adapters, by site; the caller registers them, for saving and training.

    Raises:
        ValueError: Unknown types or arguments.
    """
    channels = block_channels(block, family)
    first = build_adapter(adapter, quantizer, channels=channels)
    others = [build_adapter(adapter, quantizer, channels=channels) for _ in first.sites[1:]]
    adapters = dict(zip(first.sites, [first, *others], strict=True))
    for site, module in adapters.items():
        entry = OnGrid(module, GridTracker(trunk, block, family)) if module.spatial else module
        SITES[site](entry, block, family)
    return nn.ModuleDict(adapters)
