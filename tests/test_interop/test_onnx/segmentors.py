"""Tiny UperNets on every kind of tuned trunk."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS, init_default_scope
from tiny_backbones import tiny_config
from torch import Tensor, nn

ONE_BIT = dict(type='GaussianQuantizer', bits=1)
ADAPTFORMER = dict(
    type='mmqadapter.AdaptedBackbone',
    adapter=dict(type='AdaptFormer', width=4),
    quantizer=ONE_BIT,
)
LORA = dict(type='mmqadapter.AdaptedBackbone', adapter=dict(type='LoRA', rank=2))
PUBLISHED = dict(
    type='mmqadapter.HighwayBackbone',
    adapter=dict(type='DualLowRankAdapter', rank=2),
    quantizer=ONE_BIT,
)
JOINED = dict(
    type='mmqadapter.HighwayBackbone',
    adapter=dict(type='ConvAdapter', width=4),
    cell='JoinedCell',
    stem='ConvStem',
    taps='stream',
    inpath_blocks=1,
)


def make(family: str, wrapper: dict[str, Any], pool_scales: tuple[int, ...] = (1, 2, 3)) -> Any:
    """Return a UperNet with random changes to all of its initial weights."""
    init_default_scope('mmseg')
    channels = [8, 16] if 'swin' in family else [16, 16]
    model = MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone={**wrapper, 'backbone': tiny_config(family)},
            decode_head=dict(
                type='UPerHead', in_channels=channels, in_index=[0, 1], pool_scales=pool_scales,
                channels=8, num_classes=5, dropout_ratio=0.1, align_corners=False,
                norm_cfg=dict(type='BN')),
            test_cfg=dict(mode='whole'),
        )
    )  # fmt: skip
    return perturbed(model)


@torch.no_grad()
def perturbed(model: nn.Module) -> nn.Module:
    """Return ``model`` with changed parameters and batch norm statistics, in eval mode."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            change = torch.randn(tensor.shape, generator=generator) * 0.05
            tensor.add_(change.abs() if 'running_var' in name else change)
    return model.eval()


def image(height: int = 72, width: int = 64) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def logits(model: Any, pixels: Tensor) -> Tensor:
    """Compute the logits as mmseg does."""
    return model.encode_decode(pixels, [dict(img_shape=tuple(pixels.shape[-2:]))])
