"""The families of backbones that are supported: one row each."""

from __future__ import annotations

from torch import nn

from mmqadapter.backbones.acceleration import (
    FusedMultiheadAttention,
    FusedShiftedWindows,
    FusedSwinBlock,
    FusedWindowAttention,
)
from mmqadapter.backbones.family import BlockFamily

FAMILIES = (
    BlockFamily(
        name='mmdet and mmseg Swin',
        classes=(
            'mmdet.models.backbones.swin.SwinTransformer',
            'mmseg.models.backbones.swin.SwinTransformer',
        ),
        blocks=r'stages\.(\d+)\.blocks\.\d+',
        block='SwinBlock',
        attn_branch='attn',
        mlp_in='norm2',
        mlp_branch='ffn.layers',
        mlp_end='ffn',
        mlp='ffn.layers',
        qkv='attn.w_msa.qkv',
        behind=r'stages\.(\d+)\.downsample\.',
        resized=('absolute_pos_embed',),
        output_norm='norm{}',
        merging=r'stages\.\d+\.downsample',
        patch_order='channel row column',
        fused=(
            ('mmdet.models.backbones.swin.ShiftWindowMSA', FusedShiftedWindows),
            ('mmdet.models.backbones.swin.WindowMSA', FusedWindowAttention),
            ('mmseg.models.backbones.swin.ShiftWindowMSA', FusedShiftedWindows),
            ('mmseg.models.backbones.swin.WindowMSA', FusedWindowAttention),
        ),
    ),
    BlockFamily(
        name='mmseg ViT',
        classes=('mmseg.models.backbones.vit.VisionTransformer',),
        blocks=r'layers\.(\d+)',
        block='TransformerEncoderLayer',
        attn_branch='attn.proj_drop',
        mlp_in='ln2',
        mlp_branch='ffn.layers',
        mlp_end='ffn',
        mlp='ffn.layers',
        qkv='attn.attn',
        behind=r'ln1\.',
        resized=('pos_embed',),
        grid='patch_embed',
        end_norm='ln1',
        fused=(('torch.nn.modules.activation.MultiheadAttention', FusedMultiheadAttention),),
    ),
    BlockFamily(
        name='timm ViT and DINOv2',
        classes=('timm.models.vision_transformer.VisionTransformer',),
        blocks=r'model\.blocks\.(\d+)',
        block='Block',
        attn_branch='drop_path1',
        mlp_in='norm2',
        mlp_branch='drop_path2',
        mlp_end='drop_path2',
        mlp='mlp',
        qkv='attn.qkv',
        resized=('model.pos_embed',),
        grid='model.patch_embed',
        output_norm='model.norm',
    ),
    BlockFamily(
        name='timm Eva and DINOv3',
        classes=('timm.models.eva.Eva',),
        blocks=r'model\.blocks\.(\d+)',
        block='EvaBlock',
        attn_branch='drop_path1',
        mlp_in='norm2',
        mlp_branch='drop_path2',
        mlp_end='drop_path2',
        mlp='mlp',
        qkv=r'attn\.(qkv|[qkv]_proj)',
        split_bias='attn.q_bias',
        resized=('model.pos_embed',),
        grid='model.patch_embed',
        output_norm='model.norm',
    ),
    BlockFamily(
        name='timm Swin',
        classes=('timm.models.swin_transformer.SwinTransformer',),
        blocks=r'model\.layers\.(\d+)\.blocks\.\d+',
        block='SwinTransformerBlock',
        attn_branch='drop_path1',
        mlp_in='norm2',
        mlp_branch='drop_path2',
        mlp_end='drop_path2',
        mlp='mlp',
        qkv='attn.qkv',
        end_norm='model.norm',
        merging=r'model\.layers\.[1-9]\d*\.downsample',
        patch_order='column row channel',
        fused=(
            ('timm.models.swin_transformer.SwinTransformerBlock', FusedSwinBlock),
            ('timm.models.swin_transformer.WindowAttention', FusedWindowAttention),
        ),
    ),
)


def find_family(trunk: nn.Module) -> BlockFamily:
    """Return the row of the table that covers a built backbone.

    Raises:
        ValueError: No row covers it.
    """
    candidates = (trunk, getattr(trunk, 'model', None))
    names = {f'{c.__module__}.{c.__qualname__}' for m in candidates for c in type(m).__mro__}
    for family in FAMILIES:
        if names.intersection(family.classes):
            return family
    known = ', '.join(family.name for family in FAMILIES)
    raise ValueError(
        f'backbone={type(trunk).__name__} is not supported: expected one of {known}; '
        'the docs page "Adding a backbone" shows how to add a row for it.'
    )
