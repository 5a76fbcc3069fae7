"""Configs of small backbones, one of each family."""

from __future__ import annotations

from typing import Any

# Random weights, no network. 64 x 64 images suit all of them; two maps or more each.
# Swin and ViT alternate, so that two neighbors are one of each.
TINY: dict[str, dict[str, Any]] = {
    'mmdet_swin': dict(
        type='mmdet.SwinTransformer',
        pretrain_img_size=64,
        embed_dims=8,
        depths=(2, 2),
        num_heads=(1, 2),
        strides=(4, 2),
        window_size=4,
        out_indices=(0, 1),
        drop_path_rate=0.1,
        init_cfg=None,
    ),
    'mmseg_vit': dict(
        type='mmseg.VisionTransformer',
        img_size=(64, 64),
        patch_size=16,
        embed_dims=16,
        num_layers=3,
        num_heads=2,
        out_indices=(0, 2),
        drop_path_rate=0.1,
        final_norm=True,
        init_cfg=None,
    ),
    'mmseg_swin': dict(
        type='mmseg.SwinTransformer',
        pretrain_img_size=64,
        embed_dims=8,
        depths=(2, 2),
        num_heads=(1, 2),
        strides=(4, 2),
        window_size=4,
        out_indices=(0, 1),
        drop_path_rate=0.1,
        init_cfg=None,
    ),
    'timm_vit': dict(
        type='mmqadapter.TimmBackbone',
        model_name='vit_tiny_patch16_224',
        img_size=64,
        embed_dim=16,
        depth=3,
        num_heads=2,
        out_indices=(0, 2),
        drop_path_rate=0.1,
    ),
    'timm_swin': dict(
        type='mmqadapter.TimmBackbone',
        model_name='swin_tiny_patch4_window7_224',
        img_size=64,
        embed_dim=8,
        depths=(2, 2),
        num_heads=(1, 2),
        window_size=4,
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'dinov3': dict(
        type='mmqadapter.TimmBackbone',
        model_name='vit_small_patch16_dinov3_qkvb',
        img_size=64,
        embed_dim=16,
        depth=2,
        num_heads=2,
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'dinov2': dict(
        type='mmqadapter.TimmBackbone',
        model_name='vit_small_patch14_reg4_dinov2',
        img_size=56,
        embed_dim=16,
        depth=2,
        num_heads=2,
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
}


def tiny_config(name: str, **changes: Any) -> dict[str, Any]:
    """Config of the tiny backbone ``name`` of ``TINY``, with ``changes``."""
    return {**TINY[name], **changes}
