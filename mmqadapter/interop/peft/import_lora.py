"""PEFT's LoRA as adapters of a wrapped timm net."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from reprlib import repr as short
from typing import Any

import torch
from torch import nn

from mmqadapter.adapters import LoRA
from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.interop.peft.folder import PeftLora
from mmqadapter.interop.peft.products import FUSED, Product, find_targets, split
from mmqadapter.interop.peft.timm_net import Projection, find_projections
from mmqadapter.interop.unfit_error import UnfitError


def adapted_backbone(content: PeftLora, net: Mapping[str, Any]) -> AdaptedBackbone:
    """Build the net with the LoRA of ``content``.

    Args:
        content: Checked content of a PEFT folder.
        net: Arguments of ``TimmBackbone``.

    Raises:
        UnfitError: The LoRA is on other layers than the net's fused projections, or has other
            shapes.
        ValueError: timm has no such net, or its weights cannot be loaded.
    """
    projections = find_projections(net)
    _check_layers(content.products, projections)
    targets = find_targets([*content.products.values()])
    adapter = {
        'type': 'LoRA',
        'rank': content.settings.rank // len(targets),
        'targets': 'qkv' if targets == FUSED else list(targets),
        'scale': content.settings.scale,
    }
    tuned = [p.block for name, p in projections.items() if name in content.products]
    blocks = _blocks_argument(tuned, projections.values())
    backbone = AdaptedBackbone({'type': 'mmqadapter.TimmBackbone', **net}, adapter, blocks=blocks)
    for name, product in content.products.items():
        key = projections[name].block.replace('.', '_')
        _fill(backbone.adapters.get_submodule(f'{key}.qkv'), split(product, targets))
    return backbone


def _check_layers(products: Mapping[str, Product], projections: Mapping[str, Projection]) -> None:
    for name, product in products.items():
        if name not in projections:
            raise UnfitError(
                f'it changes {short(name)}; expected only the fused projections, here '
                f'{", ".join([*projections][:2])} to {[*projections][-1]} '
                '(target_modules=["qkv"]).'
            )
        channels = projections[name].channels
        shape = (product.up.shape[0], product.down.shape[1])
        if shape != (3 * channels, channels):
            raise UnfitError(
                f'the product for {name} has the shape {shape}, the weight of the net '
                f'({3 * channels}, {channels}); name the model that the adapter was trained on.'
            )


def _blocks_argument(tuned: Sequence[str], projections: Iterable[Projection]) -> str | None:
    """Return the argument ``blocks`` of ``AdaptedBackbone`` that selects these blocks."""
    names = [projection.block for projection in projections]
    if len(tuned) == len(names):
        return None
    if list(tuned) == names[-len(tuned) :]:
        return f'last-{len(tuned)}'
    return f'^({"|".join(re.escape(name) for name in tuned)})$'


@torch.no_grad()
def _fill(lora: nn.Module, products: Mapping[str, Product]) -> None:
    assert isinstance(lora, LoRA)
    for (down, up), product in zip(lora.pairs(), products.values(), strict=True):
        down.weight.copy_(product.down)
        up.weight.copy_(product.up)
