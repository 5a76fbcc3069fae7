"""Build the parts of a highway for a trunk: cells, mergings, output norms and stem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import groupby

from torch import nn

from mmqadapter.adapters import ParallelConvAdapter, TokenAdapter, build_adapter, is_float
from mmqadapter.backbones.block_plan import PlannedBlock, mergings, neck_of
from mmqadapter.backbones.family import PAGE, BlockFamily
from mmqadapter.highway import (
    FusedResidual,
    Highway,
    InheritedNeck,
    LowRankMerging,
    NoStem,
    Readout,
    build_cell,
    inherit_merging,
    merging_stride,
    read_class_token,
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
    ordered = sorted(plan, key=lambda block: block.stage)  # HRNet runs its stages in turns
    for _, blocks in groupby(ordered, key=lambda block: block.stage):
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
    if isinstance(built, ParallelConvAdapter):
        raise ValueError(
            "adapter type 'ParallelConvAdapter' is invalid on a highway, since it belongs beside a "
            'convolution of the trunk: use ConvAdapter.'
        )
    return built


def require_mixing(highway: Highway, readout: Readout) -> None:
    """Check that a highway whose side stream is the class token alone needs no other tokens.

    Raises:
        ValueError: Its adapters, cells or stem compute over several tokens.
    """
    if readout is not read_class_token:
        return
    spatial = any(getattr(module, 'spatial', False) for module in highway.modules())
    if spatial or not isinstance(highway.stem, NoStem):
        raise ValueError(
            "out_type='cls_token' is invalid beside a highway whose adapters, cells or stem need "
            "several tokens: a class token is one; use 'featmap' with the neck "
            "GlobalAveragePooling, or DualLowRankAdapter, JoinedCell and 'NoStem'."
        )


def build_mergings(
    trunk: nn.Module,
    family: BlockFamily,
    plan: Sequence[PlannedBlock],
    downsample: str,
    quantizer: dict | None,
) -> Iterator[nn.Module]:
    """Build the mergings of the side stream between stages, one of ``DOWNSAMPLE``.

    Raises:
        ValueError: The row does not name what the trunk computes between its stages.
    """
    needed = sum(block.ends_stage for block in plan)
    channels = {block.stage: block.channels for block in plan}
    found = list(mergings(trunk, family))[:needed]
    _require_steps(trunk, family, found, needed, downsample)
    for stage, steps in enumerate(found):
        if downsample == 'inherited':
            yield inherit_merging(steps, family.patch_order)
        else:
            yield _low_rank_merging(channels[stage], channels[stage + 1], steps, quantizer)


def _require_steps(
    trunk: nn.Module,
    family: BlockFamily,
    found: Sequence[Sequence[nn.Module]],
    needed: int,
    downsample: str,
) -> None:
    net = type(getattr(trunk, 'model', trunk)).__name__
    of_row = f'in the row {family.name!r} of the block table'
    whole = [steps for steps in found if any(not _is_norm(step) for step in steps)]
    if len(whole) < needed:
        raise ValueError(
            f'a highway is invalid for this {net}: merging={family.merging!r} and merging_steps='
            f'{family.merging_steps} {of_row} name a step other than a norm at {len(whole)} of '
            f'{needed} places between its stages; use AdaptedBackbone, or {PAGE}.'
        )
    patches = any(isinstance(step, nn.Linear) for steps in found for step in steps)
    if patches and downsample == 'inherited' and not family.patch_order:
        raise ValueError(
            f"downsample='inherited' is invalid for this {net}: patch_order is empty {of_row}, but "
            f"an nn.Linear joins its stages; use 'low-rank', or {PAGE}."
        )


def _is_norm(step: nn.Module) -> bool:
    return isinstance(step, nn.Identity) or 'Norm' in type(step).__name__


def _low_rank_merging(
    channels: int, outputs: int, steps: Sequence[nn.Module], quantizer: dict | None
) -> LowRankMerging:
    stride = merging_stride(steps)
    merging = LowRankMerging(channels, outputs, crops=rounds_down(steps), stride=stride)
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
    neck = neck_of(trunk, family)
    for number, name in enumerate(names, start=1):
        norm = trunk.get_submodule(name) if name else nn.Identity()
        if neck:
            yield InheritedNeck(trunk.get_submodule(neck))
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
