"""Find the projections of a block to q, k and v."""

from __future__ import annotations

import re
from typing import NamedTuple

from torch import Tensor, nn

from mmqadapter.backbones.family import BlockFamily

# What the projections of a block return, in execution order, by their number.
PARTS = {1: ('qkv',), 2: ('q', 'kv'), 3: ('q', 'k', 'v')}


class Projection(NamedTuple):
    """A projection of a block to one or more of q, k and v.

    Attributes:
        name: Name of the layer, relative to the block.
        layer: The layer: an ``nn.Linear``, or an ``nn.MultiheadAttention``.
        part: What it returns, in this order: one of ``'qkv'``, ``'q'``, ``'k'``, ``'v'``, ``'kv'``.
        reader: Module that reads the layer's weight instead of calling the layer; None if the layer
            is called.
    """

    name: str
    layer: nn.Module
    part: str
    reader: nn.Module | None

    @property
    def parameter(self) -> str:
        """Name of the layer's weight."""
        return 'in_proj_weight' if isinstance(self.layer, nn.MultiheadAttention) else 'weight'

    @property
    def weight(self) -> Tensor:
        """The weight (outputs, inputs), or its int8 codes."""
        return getattr(self.layer, self.parameter)


def find_projections(block: nn.Module, family: BlockFamily) -> list[Projection]:
    """Return the projections of a block to q, k and v, in this order.

    Raises:
        ValueError: The block has none, or not the number that q, k and v need.
    """
    layers = [(n, m) for n, m in block.named_modules() if n and re.fullmatch(family.qkv, n)]
    if len(layers) not in PARTS:
        raise ValueError(
            f'{type(block).__name__} of {family.name} has {len(layers)} projections to q, k and v '
            f'that the name {family.qkv!r} of its row matches: expected 1 to 3 for LoRA; leave the '
            'block out with `blocks`, or use AdaptFormer.'
        )
    return [
        Projection(name, layer, part, _reader(block, family, name))
        for (name, layer), part in zip(layers, PARTS[len(layers)], strict=True)
    ]


def bypassed_layers(blocks: list[nn.Module], family: BlockFamily) -> set[nn.Module]:
    """Return the linear layers whose weight the net reads without calling them."""
    found = (find_projections(block, family) for block in blocks if family.split_bias)
    projections = (projection for projections in found for projection in projections)
    return {p.layer for p in projections if p.reader is not None}


def _reader(block: nn.Module, family: BlockFamily, name: str) -> nn.Module | None:
    layer, parent = block.get_submodule(name), name.rpartition('.')[0]
    if isinstance(layer, nn.MultiheadAttention):
        return layer
    split = family.split_bias in dict(block.named_parameters())
    return block.get_submodule(parent) if split else None
