"""Configs of small backbones, one of each family."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from timm.models import register_model
from timm.models.metaformer import (
    Attention,
    LayerNorm2dNoBias,
    LayerNormNoBias,
    MetaFormer,
    SepConv,
)


@register_model
def tiny_caformer(
    pretrained: bool = False,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Any = None,
    cache_dir: Any = None,
    **kwargs: Any,
) -> MetaFormer:
    """CaFormer of two stages, of convolutions and of attention; timm's own names fix the depths."""
    return MetaFormer(
        depths=(2, 2),
        token_mixers=(SepConv, Attention),
        norm_layers=(LayerNorm2dNoBias, LayerNormNoBias),
        res_scale_init_values=(None, 1.0),
        **kwargs,
    )


# Random weights, no network. 64 x 64 images suit all of them; two maps or more each.
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
    'timm_beit': dict(
        type='mmqadapter.TimmBackbone',
        model_name='beitv2_base_patch16_224',
        img_size=64,
        embed_dim=16,
        depth=3,
        num_heads=2,
        out_indices=(0, 2),
        drop_path_rate=0.1,
    ),
    'mmseg_beit': dict(
        type='mmseg.BEiT',
        img_size=64,
        patch_size=16,
        embed_dims=16,
        num_layers=3,
        num_heads=2,
        out_indices=(0, 2),
        drop_path_rate=0.1,
        final_norm=True,
    ),
    'timm_convnext': dict(
        type='mmqadapter.TimmBackbone',
        model_name='convnext_tiny',
        depths=(2, 2, 2, 2),
        dims=(8, 16, 16, 16),
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'timm_sam': dict(
        type='mmqadapter.TimmBackbone',
        model_name='samvit_base_patch16',
        img_size=64,
        embed_dim=16,
        depth=3,
        num_heads=2,
        window_size=3,
        global_attn_indexes=(1,),
        neck_chans=16,
        out_indices=(0, 2),
        drop_path_rate=0.1,
    ),
    'mmseg_mit': dict(
        type='mmseg.MixVisionTransformer',
        embed_dims=8,
        num_stages=2,
        num_layers=(2, 2),
        num_heads=(1, 2),
        patch_sizes=(7, 3),
        strides=(4, 2),
        sr_ratios=(2, 1),
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'mmdet_pvt': dict(
        type='mmdet.PyramidVisionTransformer',
        convert_weights=False,
        pretrain_img_size=64,
        embed_dims=8,
        num_stages=2,
        num_layers=(2, 2),
        num_heads=(1, 2),
        patch_sizes=(4, 2),
        strides=(4, 2),
        paddings=(0, 0),
        sr_ratios=(2, 1),
        mlp_ratios=(4, 4),
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'mmdet_pvt_v2': dict(
        type='mmdet.PyramidVisionTransformerV2',
        convert_weights=False,
        embed_dims=8,
        num_layers=(2, 2, 2, 2),
        num_heads=(1, 2, 2, 2),
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'timm_pvt_v2': dict(
        type='mmqadapter.TimmBackbone',
        model_name='pvt_v2_b0',
        depths=(2, 2),
        embed_dims=(8, 16),
        num_heads=(1, 2),
        sr_ratios=(2, 1),
        mlp_ratios=(4, 4),
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'timm_swin_v2': dict(
        type='mmqadapter.TimmBackbone',
        model_name='swinv2_tiny_window8_256',
        img_size=64,
        embed_dim=8,
        depths=(2, 2),
        num_heads=(1, 2),
        window_size=4,
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'timm_swin_v2_cr': dict(
        type='mmqadapter.TimmBackbone',
        model_name='swinv2_cr_tiny_224',
        img_size=64,
        embed_dim=8,
        depths=(2, 2),
        num_heads=(1, 2),
        window_size=4,
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'timm_metaformer': dict(
        type='mmqadapter.TimmBackbone',
        model_name='tiny_caformer',
        dims=(8, 16),
        head_dim=4,
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'timm_relpos': dict(
        type='mmqadapter.TimmBackbone',
        model_name='vit_relpos_small_patch16_224',
        img_size=64,
        embed_dim=16,
        depth=3,
        num_heads=2,
        out_indices=(0, 2),
        drop_path_rate=0.1,
    ),
    'timm_cait': dict(
        type='mmqadapter.TimmBackbone',
        model_name='cait_xxs24_224',
        img_size=64,
        embed_dim=16,
        depth=3,
        num_heads=2,
        out_indices=(0, 2),
        drop_path_rate=0.1,
    ),
    'timm_twins': dict(
        type='mmqadapter.TimmBackbone',
        model_name='twins_svt_small',
        img_size=64,
        embed_dims=(8, 16),
        num_heads=(1, 2),
        mlp_ratios=(4, 4),
        depths=(2, 2),
        sr_ratios=(2, 1),
        wss=(4, 4),
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'mmseg_pcpvt': dict(
        type='mmseg.PCPVT',
        embed_dims=(8, 16),
        patch_sizes=(4, 2),
        strides=(4, 2),
        num_heads=(1, 2),
        mlp_ratios=(4, 4),
        out_indices=(0, 1),
        qkv_bias=True,
        depths=(2, 2),
        sr_ratios=(2, 1),
        norm_after_stage=False,
        drop_path_rate=0.1,
    ),
    'mmseg_svt': dict(
        type='mmseg.SVT',
        embed_dims=(8, 16),
        patch_sizes=(4, 2),
        strides=(4, 2),
        num_heads=(1, 2),
        mlp_ratios=(4, 4),
        out_indices=(0, 1),
        qkv_bias=True,
        depths=(2, 2),
        sr_ratios=(2, 1),
        windiow_sizes=(4, 4),
        norm_after_stage=True,
        drop_path_rate=0.1,
    ),
    'mmdet_resnet': dict(
        type='mmdet.ResNet',
        depth=18,
        base_channels=8,
        deep_stem=True,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
        zero_init_residual=False,
    ),
    'mmseg_mscan': dict(
        type='mmseg.MSCAN',
        embed_dims=(8, 16),
        mlp_ratios=(4, 4),
        depths=(2, 2),
        num_stages=2,
        norm_cfg=dict(type='BN'),
        drop_path_rate=0.1,
    ),
}
# Families of mmpretrain, an extra.
TINY_VIT = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=64)
TINY_SWIN = dict(embed_dims=8, depths=[2, 2], num_heads=[1, 2])
MMPRETRAIN: dict[str, dict[str, Any]] = {
    'mmpretrain_vit': dict(
        type='mmpretrain.VisionTransformer',
        arch=TINY_VIT,
        img_size=64,
        out_indices=(0, 2),
        out_type='featmap',
        layer_scale_init_value=1e-5,
        drop_path_rate=0.1,
    ),
    'mmpretrain_beit': dict(
        type='mmpretrain.BEiTViT',
        arch=TINY_VIT,
        img_size=64,
        out_indices=(0, 2),
        out_type='featmap',
        final_norm=True,
        drop_path_rate=0.1,
    ),
    'mmpretrain_sam': dict(
        type='mmpretrain.ViTSAM',
        arch={**TINY_VIT, 'global_attn_indexes': [1]},
        img_size=64,
        window_size=3,
        out_channels=16,
        out_indices=(0, 2),
        drop_path_rate=0.1,
    ),
    'mmpretrain_swin': dict(
        type='mmpretrain.SwinTransformer',
        arch=TINY_SWIN,
        img_size=64,
        window_size=4,
        pad_small_map=True,
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'mmpretrain_convnext': dict(
        type='mmpretrain.ConvNeXt',
        arch=dict(depths=[2, 2], channels=[8, 16]),
        gap_before_final_norm=False,
        out_indices=(0, 1),
        drop_path_rate=0.1,
    ),
    'mmpretrain_poolformer': dict(
        type='mmpretrain.PoolFormer',
        arch=dict(layers=[2, 2], embed_dims=[8, 16]),
        out_indices=(0, 2),
        drop_path_rate=0.1,
    ),
}
if find_spec('mmpretrain'):
    TINY.update(MMPRETRAIN)
# It deletes buffers from what it loads, so that no checkpoint of it loads strictly.
SWIN_V2 = dict(
    type='mmpretrain.SwinTransformerV2',
    arch={**TINY_SWIN, 'extra_norm_every_n_blocks': 2},
    img_size=64,
    window_size=4,
    pad_small_map=True,
    out_indices=(0, 1),
    drop_path_rate=0.1,
)


# Nets without activation checkpointing.
# One family for each way to lay out the stream: windows, tokens, separate projections that the net
# reads, maps, tokens (B, H, W, C) with a neck, norms between stages, norms behind the branches.
LAYOUTS = (
    'mmdet_swin', 'timm_vit', 'dinov3', 'timm_convnext', 'timm_sam', 'mmseg_mit', 'timm_swin_v2',
    'mmdet_resnet',
)  # fmt: skip
NO_CP = (
    'mmseg_beit', 'mmdet_pvt', 'mmdet_pvt_v2', 'mmseg_pcpvt', 'mmseg_svt', 'mmseg_mscan',
    'timm_twins', 'mmpretrain_vit', 'mmpretrain_beit', 'mmpretrain_sam',
    'mmpretrain_poolformer',
)  # fmt: skip


# Nets with blocks that have no projections to q, k and v.
NO_LORA = (
    'timm_convnext', 'timm_metaformer', 'mmseg_mscan', 'mmpretrain_convnext',
    'mmpretrain_poolformer', 'mmdet_resnet',
)  # fmt: skip
# Nets without stochastic depth.
NO_DROP_PATH = ('mmdet_resnet',)
# A net that returns all of its stages.
NO_OUT_INDICES = ('mmseg_mscan',)


def fitting(cfg: dict[str, Any], size: tuple[int, int]) -> tuple[int, int]:
    """An image size that a tiny net takes: some have position biases for one grid."""
    name = cfg.get('model_name', cfg['type']).lower()
    return (64, 64) if any(net in name for net in ('beit', 'relpos', 'cait')) else size


def tiny_config(name: str, **changes: Any) -> dict[str, Any]:
    """Config of the tiny backbone ``name`` of ``TINY``, with ``changes``."""
    return {**TINY[name], **changes}
