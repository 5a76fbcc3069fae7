"""Build the adapters of a block and tie them to its sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmqadapter.adapters import Adapter, build_adapter
from mmqadapter.backbones.batched_quantizers import recomputes
from mmqadapter.backbones.block_plan import block_channels
from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.grid_tracker import GridTracker
from mmqadapter.backbones.prompt_sites import CarriedPromptSite
from mmqadapter.backbones.site_table import SITES
from mmqadapter.registry import MODELS


class OnGrid:
    """Spatial adapter that a site calls with tokens alone.

    Args:
        adapter: Takes tokens and their grid.
        grid: Tracker of the grid of tokens (B, L, C).
    """

    def __init__(self, adapter: Adapter, grid: GridTracker) -> None:
        self.adapter = adapter
        self.grid = grid

    def __call__(self, x: Tensor) -> Tensor:
        """Return the change to add, shape of ``x``: (B, L, C) or (B, H, W, C)."""
        grid = tuple(x.shape[1:3]) if x.ndim == 4 else self.grid.size
        return self.adapter(x.flatten(1, -2), grid).view_as(x)


class OnMaps:
    """Adapter of tokens that a site calls with maps.

    Args:
        adapter: Takes tokens (B, H, W, C).
    """

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter

    def __call__(self, x: Tensor) -> Tensor:
        """Return the change to add, (B, C, H, W); or (B, L, C) for tokens."""
        return self.adapter(x.movedim(1, -1)).movedim(-1, 1) if x.ndim == 4 else self.adapter(x)


def adapt_blocks(
    trunk: nn.Module,
    blocks: Mapping[str, nn.Module],
    family: BlockFamily,
    adapter: dict,
    quantizer: dict | None,
) -> dict[str, nn.ModuleDict]:
    """Put new adapters into the path of several blocks.

    Args:
        trunk: The net.
        blocks: Its blocks by name, in execution order.
        family: Its row.
        adapter: Config, such as ``dict(type='AdaptFormer', width=32)``.
        quantizer: Config, or None for float adapters.

    Returns:
        The adapters by site, by the name of their block; the caller registers them.

    Raises:
        ValueError: As :func:`adapt_block`, or prompts that a net with activation checkpointing
            cannot carry.
    """
    if _is_carried(adapter):
        return _carry_prompts(trunk, blocks, family, adapter, quantizer)
    return {n: adapt_block(trunk, b, family, adapter, quantizer) for n, b in blocks.items()}


def _is_carried(adapter: dict) -> bool:
    kind: Any = adapter.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    return bool(getattr(kind, 'carried', False))


def _carry_prompts(
    trunk: nn.Module,
    blocks: Mapping[str, nn.Module],
    family: BlockFamily,
    adapter: dict,
    quantizer: dict | None,
) -> dict[str, nn.ModuleDict]:
    if recomputes(trunk):
        raise ValueError(
            f'adapter type {adapter["type"]!r} is invalid with activation checkpointing: use '
            'Prompts, or with_cp=False.'
        )
    first = next(iter(blocks))
    adapters = build_adapters(blocks[first], family, adapter, quantizer)
    prompts: Any = adapters['prompts']
    CarriedPromptSite(prompts, list(blocks.values()), family)
    return {first: adapters}


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
        ValueError: Unknown types or arguments, or an adapter without a site in the block.
    """
    adapters = build_adapters(block, family, adapter, quantizer)
    # A site on an attention branch that no module returns adds to the end of the MLP: after others.
    late = 'attn_branch' if family.attn_in else ''
    for site, module in sorted(adapters.items(), key=lambda item: item[0] == late):
        entry = module if SITES[site].direct else _entry(module, trunk, block, family)
        SITES[site].tie(entry, block, family)
    return adapters


def build_adapters(
    block: nn.Module, family: BlockFamily, adapter: dict, quantizer: dict | None
) -> nn.ModuleDict:
    """Return new adapters that fit a block, by site; see :func:`adapt_block`."""
    shape: dict[str, Any] = {'channels': block_channels(block, family)}
    first: Any = build_adapter(adapter, quantizer, **shape)
    sites = _sites(first, family)
    if more := SITES[sites[0]].arguments(first, block, family):
        shape |= more
        first = build_adapter(adapter, quantizer, **shape)
    others = [build_adapter(adapter, quantizer, **shape) for _ in sites[1:]]
    return nn.ModuleDict(dict(zip(sites, [first, *others], strict=True)))


def _entry(adapter: Any, trunk: nn.Module, block: nn.Module, family: BlockFamily) -> Any:
    """Return what a site calls with the tokens or maps of a block."""
    entry: Any = OnGrid(adapter, GridTracker(trunk, block, family)) if adapter.spatial else adapter
    return OnMaps(entry) if family.channels_first else entry


def _sites(adapter: Adapter, family: BlockFamily) -> list[str]:
    """Return the sites of an adapter that the blocks of a family have."""
    missing = set() if family.branches == 2 else {'attn_branch', 'attn_stream'}
    missing |= set() if family.qkv else {'qkv'}
    missing |= {'mlp_parallel_normed'} if family.channels_first else set()
    missing |= {'attn_stream', 'mlp_stream'} if family.scaled_shortcut else set()
    missing |= set() if family.conv else {'conv'}
    sites = [site for site in adapter.sites if site not in missing]
    if not sites:
        raise ValueError(
            f'adapter type {type(adapter).__name__!r} is invalid for {family.name}, whose blocks '
            f'lack its site {adapter.sites[0]!r}: use AdaptFormer or ConvAdapter.'
        )
    whole = family.whole_blocks and not SITES[sites[0]].direct
    return ['output'] if whole else sites
