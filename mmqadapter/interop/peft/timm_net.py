"""Fused projections of a timm net, found without allocating its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from mmqadapter.backbones import TimmBackbone
from mmqadapter.backbones.families import find_family
from mmqadapter.backbones.projections import find_projections as of_block
from mmqadapter.backbones.select import find_blocks

LEVEL = 'model.'  # TimmBackbone holds timm's net one level deeper


class Projection(NamedTuple):
    """Fused projection to q, k and v.

    Attributes:
        block: Full name of its block in a ``TimmBackbone``.
        channels: C, the number of inputs; it has 3 C outputs.
    """

    block: str
    channels: int


def find_projections(net: Mapping[str, Any]) -> dict[str, Projection]:
    """Return the fused projections of a timm ViT or Swin by timm's names, in execution order.

    Args:
        net: Arguments of :class:`mmqadapter.backbones.timm_backbone.TimmBackbone`, such as
            ``dict(model_name='vit_base_patch16_224')``; weights are not loaded.

    Raises:
        ValueError: timm has no such net, it belongs to no supported family, or its projections to
            q, k and v are separate.
    """
    arguments = {name: v for name, v in net.items() if name not in ('checkpoint', 'pretrained')}
    with torch.device('meta'):
        trunk = TimmBackbone(**arguments)
    family = find_family(trunk)
    projections = {}
    for name, block in find_blocks(trunk, family).items():
        inner = of_block(block, family)
        if len(inner) > 1:
            names = ', '.join(projection.name for projection in inner)
            raise ValueError(
                f'model_name={net.get("model_name")!r} is invalid: its projections {names} are '
                'separate; expected a fused one.'
            )
        timm_name = f'{name}.{inner[0].name}'.removeprefix(LEVEL)
        projections[timm_name] = Projection(name, inner[0].weight.shape[1])
    return projections
