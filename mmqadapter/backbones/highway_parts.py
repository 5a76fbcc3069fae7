"""Build the parts of a highway for a trunk: cells, mergings, output norms and stem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import groupby

from torch import nn

from mmqadapter.adapters import TokenAdapter, build_adapter, is_float
from mmqadapter.backbones.block_plan import PlannedBlock, mergings
from mmqadapter.backbones.family import BlockFamily
from mmqadapter.highway import (
    FusedResidual,
    InheritedNeck,
    LowRankMerging,
    build_cell,
    inherit_merging,
    rounds_down,
)
from mmqadapter.registry import build_own

DOWNSAMPLE = ('inherited', 'low-rank')


def build_cells(
    plan: Iterable[PlannedBlock],
    adapter: dict,
    quantizer: dict | None,
    cell: dict,
    residual: FusedResidual,
    taps_per_block: int,
) -> Iterator[list[nn.Module]]:
    """Build the cells of each stage, one per tap.

    Raises:
        ValueError: An unknown adapter, quantizer or cell, or an adapter of projections.
    """
    for _, blocks in groupby(plan, key=lambda block: block.stage):
        yield [
            build_cell(cell, _token_adapter(adapter, quantizer, block.channels), residual)
            for block in blocks
            for _ in range(taps_per_block)
        ]


def _token_adapter(adapter: dict, quantizer: dict | None, channels: int) -> TokenAdapter:
    built = build_adapter(adapter, quantizer, channels=channels)
    if not isinstance(built, TokenAdapter):
        raise ValueError(
            f'adapter type {adapter["type"]!r} is invalid on a highway, since it changes a '
            'projection of the trunk: expected DualLowRankAdapter, SequentialAdapter, AdaptFormer '
            'or the like.'
        )
    return built


def build_mergings(
    trunk: nn.Module,
    family: BlockFamily,
    plan: Sequence[PlannedBlock],
    downsample: str,
    quantizer: dict | None,
) -> Iterator[nn.Module]:
    """Build the mergings of the side stream between stages, one of ``DOWNSAMPLE``."""
    needed = sum(block.ends_stage for block in plan)
    channels = [next(blocks).channels for _, blocks in groupby(plan, key=lambda block: block.stage)]
    sizes = zip(mergings(trunk, family), channels[:needed], channels[1:], strict=False)
    for steps, before, after in sizes:
        if downsample == 'inherited':
            yield inherit_merging(steps, family.patch_order)
        else:
            yield _low_rank_merging(before, after, rounds_down(steps), quantizer)


def _low_rank_merging(
    channels: int, outputs: int, crops: bool, quantizer: dict | None
) -> LowRankMerging:
    merging = LowRankMerging(channels, outputs, crops=crops)
    if quantizer is not None and not is_float(quantizer):
        merging.quantize(quantizer)
    return merging


def output_modules(
    trunk: nn.Module, family: BlockFamily, names: Sequence[str]
) -> Iterator[nn.Module]:
    """Return what makes each map: a trained copy of the trunk's norm, an identity, or its neck.

    A norm that the next stage reads as well stays frozen: it belongs to the stream, and a copy
    would get no gradient from a head that does not read this map.
    """
    for number, name in enumerate(names, start=1):
        norm = trunk.get_submodule(name) if name else nn.Identity()
        if family.neck:
            yield InheritedNeck(trunk.get_submodule(family.neck))
        elif family.normed_stream and number < len(names):
            yield InheritedNeck(norm)
        else:
            yield deepcopy(norm).requires_grad_(True)


def build_stem(stem: dict, quantizer: dict | None, trunk: nn.Module, channels: int) -> nn.Module:
    """Build the stem of the side stream for the stride of the trunk's patch embedding."""
    embedding = next((m for m in trunk.modules() if isinstance(m, nn.Conv2d)), None)
    stride = embedding.stride[0] if embedding else 16  # the check of the build tells a wrong one
    built = build_own('stem', stem, stride=stride, channels=channels)
    if quantizer is not None and not is_float(quantizer):
        built.quantize(quantizer)
    return built
