"""Plan of a built trunk: its stages and outputs, according to its family's row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.select import blocks_by_output, find_child, output_numbers
from mmqadapter.highway import EvenPadding

# Attributes of norms, linear layers and convolutions that hold the number of input channels.
CHANNEL_ATTRIBUTES = (
    'normalized_shape', 'num_features', 'num_channels', 'in_features', 'in_channels',
)  # fmt: skip


@dataclass(frozen=True)
class PlannedBlock:
    """A block that reaches an output.

    Attributes:
        name: Full name.
        module: The block.
        stage: Its stage; 0 in a net of one stage.
        channels: C.
        gives_map: An output map is taken behind it.
        ends_stage: A patch merging follows it.
    """

    name: str
    module: nn.Module
    stage: int
    channels: int
    gives_map: bool
    ends_stage: bool


def plan_blocks(
    trunk: nn.Module, family: BlockFamily, blocks: Mapping[str, nn.Module]
) -> list[PlannedBlock]:
    """Return a plan of ``blocks``, all that reach an output, in execution order.

    Outputs before the first block are none of the plan's.

    Raises:
        ValueError: ``out_indices`` are beyond the blocks of the net, or blocks of a stage differ in
            their number of channels.
    """
    by_output = blocks_by_output(trunk, family)
    numbers = {name: by_output[name] for name in blocks}
    last_of = {number: name for name, number in numbers.items()}
    needed, ranks = _adapted_outputs(trunk, family), sorted(last_of)
    stages = {n: ranks.index(number) if family.merging else 0 for n, number in numbers.items()}
    channels = {name: block_channels(block, family) for name, block in blocks.items()}
    _require_equal_widths(family, stages, channels)
    if missing := sorted(set(needed) - last_of.keys()):
        raise ValueError(
            f'out_indices={missing} is invalid: expected {ranks[0]} to {ranks[-1]} for '
            f'{family.name}.'
        )
    outputs = {last_of[number] for number in needed}
    ends = set(last_of.values()) - {last_of[max(last_of)]} if family.merging else set()
    return [
        PlannedBlock(
            name=name,
            module=block,
            stage=stages[name],
            channels=channels[name],
            gives_map=name in outputs,
            ends_stage=name in ends,
        )
        for name, block in blocks.items()
    ]


def _require_equal_widths(
    family: BlockFamily, stages: Mapping[str, int], channels: Mapping[str, int]
) -> None:
    widths: dict[int, int] = {}
    for name, stage in stages.items():
        width = widths.setdefault(stage, channels[name])
        if channels[name] != width:
            raise ValueError(
                f'a highway is invalid for {family.name}: {name} has {channels[name]} channels, '
                f'blocks before it in its stage {width}; use AdaptedBackbone.'
            )


def block_channels(block: nn.Module, family: BlockFamily) -> int:
    """Return the number of channels C of a block's residual stream."""
    child = find_child(block, family.channels or family.mlp_in)
    assert child is not None, f'{type(block).__name__} has no {family.channels or family.mlp_in}'
    sizes = (getattr(child, name, None) for name in CHANNEL_ATTRIBUTES)
    size = next(size for size in sizes if size is not None)
    return size if isinstance(size, int) else size[0]


def output_norms(trunk: nn.Module, family: BlockFamily) -> list[str]:
    """Return the full name of each output's norm, in execution order; '' where it has none."""
    end = max(blocks_by_output(trunk, family).values())
    numbers = _adapted_outputs(trunk, family)
    return [_output_norm(trunk, family, number, number == end) for number in numbers]


def neck_of(trunk: nn.Module, family: BlockFamily) -> str:
    """Return the full name of a trunk's neck; '' if it has none."""
    return family.neck if family.neck in dict(trunk.named_modules()) else ''


def mergings(trunk: nn.Module, family: BlockFamily) -> Iterator[list[nn.Module]]:
    """Yield what a trunk computes between stages: norms and a linear step, in execution order."""
    modules = dict(trunk.named_modules())
    names = [n for n in modules if family.merging and re.fullmatch(family.merging, n)]
    numbers = sorted(set(blocks_by_output(trunk, family).values()))
    for number, name in zip(numbers, names, strict=False):
        children = [f'{name}.{step}'.rstrip('.') for step in family.merging_steps]
        # An option of the net may leave a norm out, or put it on the other side.
        steps = [module for child, module in modules.items() if child in children]
        if family.merging_pads:
            steps.insert(-1, EvenPadding())
        normed = family.output_norm.format(number) if family.normed_stream else ''
        yield [modules[normed], *steps] if normed in modules and normed else steps


def _output_norm(trunk: nn.Module, family: BlockFamily, number: int, is_last: bool) -> str:
    name = family.output_norm.format(number) or (family.end_norm if is_last else '')
    # An option of the net may leave the norm out.
    return name if name in dict(trunk.named_modules()) else ''


def _adapted_outputs(trunk: nn.Module, family: BlockFamily) -> list[int]:
    """Return the numbers of the outputs behind blocks, ascending."""
    first = min(blocks_by_output(trunk, family).values())
    return [number for number in output_numbers(trunk, family) if number >= first]
