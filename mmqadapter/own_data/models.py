"""Pretrained backbones by short name, and the numbers that a config needs of each."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

import timm
import torch

from mmqadapter.backbones.timm_net import build_timm

MODELS = {
    'vit-tiny': 'vit_tiny_patch16_224.augreg_in21k_ft_in1k',
    'vit-small': 'vit_small_patch16_224.augreg_in21k_ft_in1k',
    'vit-base': 'vit_base_patch16_224.augreg2_in21k_ft_in1k',
    'vit-large': 'vit_large_patch16_224.augreg_in21k_ft_in1k',
    'dinov2-small': 'vit_small_patch14_reg4_dinov2.lvd142m',
    'dinov2-base': 'vit_base_patch14_reg4_dinov2.lvd142m',
    'dinov2-large': 'vit_large_patch14_reg4_dinov2.lvd142m',
    'clip-base': 'vit_base_patch16_clip_224.openai',
    'clip-large': 'vit_large_patch14_clip_224.openai',
    'dinov3-small': 'vit_small_patch16_dinov3.lvd1689m',
    'dinov3-base': 'vit_base_patch16_dinov3.lvd1689m',
    'dinov3-large': 'vit_large_patch16_dinov3.lvd1689m',
    'siglip-base': 'vit_base_patch16_siglip_224.webli',
    'siglip-so400m': 'vit_so400m_patch14_siglip_224.webli',
    'swin-tiny': 'swin_tiny_patch4_window7_224.ms_in1k',
    'swin-base': 'swin_base_patch4_window7_224.ms_in22k_ft_in1k',
    'swin-large': 'swin_large_patch4_window7_224.ms_in22k_ft_in1k',
    'convnext-tiny': 'convnext_tiny.fb_in22k',
    'convnext-base': 'convnext_base.fb_in22k',
    'convnext-large': 'convnext_large.fb_in22k',
}


@dataclass(frozen=True)
class Model:
    """A backbone of timm, as a config describes it.

    Attributes:
        name: Name in timm, with the tag of its weights.
        channels: Channels C of the four maps.
        out_indices: Blocks (ViT) or stages (Swin, ConvNeXt) whose maps are used.
        patch: Side of a patch in pixels; the finest stride of a pyramid.
        pyramid: Whether the maps have four scales (Swin, ConvNeXt); those of a ViT have one.
        class_token: Whether it has a class token, which a classifier reads.
        mean: Mean of the colors red, green, blue that the weights expect, of 255.
        std: Standard deviation of the colors, of 255.
    """

    name: str
    channels: tuple[int, ...]
    out_indices: tuple[int, ...]
    patch: int
    pyramid: bool
    class_token: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


def describe_model(name: str) -> Model:
    """Return the numbers of a backbone; no weights are loaded and no memory is used for them.

    Args:
        name: A key of ``MODELS``, or any name of timm that ``TimmBackbone`` takes.

    Raises:
        ValueError: The name is neither, or the maps have other strides than heads expect.
    """
    full_name = MODELS.get(name, name)
    if not timm.is_model(full_name):
        known = [*MODELS, *timm.list_models()]
        raise ValueError(
            f'model={name!r} is unknown: expected one of {", ".join(MODELS)}, or a name of timm. '
            f'Similar: {", ".join(get_close_matches(name, known, n=3, cutoff=0.4)) or "none"}.'
        )
    with torch.device('meta'):
        net = build_timm(full_name)
    maps = net.feature_info
    strides = [cast('int', info['reduction']) for info in maps]
    pyramid = len(set(strides)) > 1
    if pyramid and strides[-4:] != [4, 8, 16, 32]:
        raise ValueError(
            f'model={name!r} is invalid: its maps have strides of {strides}, expected 4, 8, 16 and '
            '32, or those of a plain ViT.'
        )
    indices = tuple(range(len(maps)))[-4:] if pyramid else _quarters(len(maps))
    colors = timm.models.get_pretrained_cfg_value
    return Model(
        name=full_name,
        channels=tuple(cast('int', maps[index]['num_chs']) for index in indices),
        out_indices=indices,
        patch=strides[indices[0]],
        pyramid=pyramid,
        class_token=getattr(net, 'cls_token', None) is not None,
        mean=tuple(round(255 * value, 3) for value in colors(full_name, 'mean') or ()),
        std=tuple(round(255 * value, 3) for value in colors(full_name, 'std') or ()),
    )


def _quarters(depth: int) -> tuple[int, ...]:
    """Return the last block of each quarter of a plain ViT."""
    return tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))
