"""Where a built trunk has its stages and outputs, as the block table tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from mmqadapter.backbones.block_family import BlockFamily
from mmqadapter.backbones.block_table import find_blocks


@dataclass(frozen=True)
class PlannedBlock:
    """A block that reaches an output.

    Attributes:
        name: Full name.
        module: The block.
        stage: Its stage; 0 in a net of one stage.
        channels: C.
        ends: ``'output'`` if a map is taken behind it, ``'merge'`` if a needed stage follows.
    """

    name: str
    module: nn.Module
    stage: int
    channels: int
    ends: tuple[str, ...]


def plan_blocks(trunk: nn.Module, family: BlockFamily) -> list[PlannedBlock]:
    """Blocks that reach an output, in execution order.

    Raises:
        ValueError: An option of the net makes its outputs other than one map for each of
            ``out_indices``, these are beyond its blocks, or its blocks are of another kind than
            the table knows.
    """
    _check_outputs(trunk, family)
    blocks = find_blocks(trunk, family)
    counted = {name: _counted(family, name) for name in blocks}
    last_of = {number: name for name, number in counted.items()}
    if lacking := sorted(set(_outputs(trunk)) - last_of.keys()):
        raise ValueError(
            f'out_indices: {family.name} has none of {lacking}; use 0 to {max(last_of)}.'
        )
    outputs = {last_of[number] for number in _outputs(trunk)}
    ends_stage = set(last_of.values()) - {last_of[max(last_of)]} if family.merging else set()
    return [
        PlannedBlock(
            name=name,
            module=block,
            stage=counted[name] if family.merging else 0,
            channels=_channels(block, family),
            ends=('output',) * (name in outputs) + ('merge',) * (name in ends_stage),
        )
        for name, block in blocks.items()
    ]


def output_norms(trunk: nn.Module, family: BlockFamily) -> list[str]:
    """Full name of each output's norm, in execution order; '' where it has none."""
    matches = (re.fullmatch(family.blocks, name) for name, _ in trunk.named_modules())
    end = max(int(match[1]) for match in matches if match)
    return [_output_norm(trunk, family, number, number == end) for number in _outputs(trunk)]


def mergings(trunk: nn.Module, family: BlockFamily) -> Iterator[Any]:
    """The trunk's patch mergings, in execution order."""
    for name, module in trunk.named_modules():
        if family.merging and re.fullmatch(family.merging, name):
            yield module


def _check_outputs(trunk: nn.Module, family: BlockFamily) -> None:
    for argument in family.other_outputs:
        if getattr(trunk, argument):
            raise ValueError(
                f'{argument}=True: {family.name} then gives more than a map for each of '
                f'out_indices, which the highway does not know; leave {argument} out.'
            )


def _output_norm(trunk: nn.Module, family: BlockFamily, number: int, end: bool) -> str:
    name = family.output_norm.format(number) or (family.end_norm if end else '')
    # An option of the net may leave the norm out.
    return name if name in dict(trunk.named_modules()) else ''


def _outputs(trunk: nn.Module) -> list[int]:
    indices: Any = trunk.out_indices
    return sorted(int(i) for i in indices)


def _counted(family: BlockFamily, name: str) -> int:
    match = re.fullmatch(family.blocks, name)
    assert match is not None
    return int(match[1])


def _channels(block: nn.Module, family: BlockFamily) -> int:
    norm: Any = block.get_submodule(family.mlp_in)  # a LayerNorm or one of timm's own
    return norm.normalized_shape[0]
