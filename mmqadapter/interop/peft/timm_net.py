"""Where a timm net has its fused projections, without building its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from mmqadapter.backbones import TimmBackbone
from mmqadapter.backbones.families import find_family
from mmqadapter.backbones.select import find_blocks

LEVEL = 'model.'  # TimmBackbone holds timm's net one level deeper


class Projection(NamedTuple):
    """A fused projection to q, k and v.

    Attributes:
        block: Full name of its block in a ``TimmBackbone``.
        channels: C, its inputs; it has 3 C outputs.
    """

    block: str
    channels: int


def find_projections(net: Mapping[str, Any]) -> dict[str, Projection]:
    """Fused projections of a timm ViT or Swin by timm's own names, in execution order.

    Args:
        net: Arguments of :class:`mmqadapter.backbones.timm_backbone.TimmBackbone`, such as
            ``dict(model_name='vit_base_patch16_224')``; weights are not loaded.

    Raises:
        ValueError: timm has no such net, or we know none of its kind.
    """
    bare = {name: value for name, value in net.items() if name not in ('checkpoint', 'pretrained')}
    with torch.device('meta'):
        trunk = TimmBackbone(**bare)
    family = find_family(trunk)
    found = {}
    for name, block in find_blocks(trunk, family).items():
        layer: Any = block.get_submodule(family.qkv)
        full = f'{name}.{family.qkv}'.removeprefix(LEVEL)
        found[full] = Projection(name, layer.in_features)
    return found
