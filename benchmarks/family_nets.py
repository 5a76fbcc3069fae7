"""One net of each family of backbones, small ones of those that people use."""

from __future__ import annotations

from typing import Any

SIZE = 'image size'  # stands for it in the configs of nets that are built for one size


def _timm(model_name: str, **options: Any) -> dict[str, Any]:
    return dict(type='mmqadapter.TimmBackbone', model_name=model_name, **options)


def _hrnet(width: int) -> dict[str, Any]:
    """Return the stages of a small HRNet."""
    first = dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(2,))
    stages: dict[str, Any] = dict(stage1=dict(first, num_channels=(64,)))
    for stage, modules in ((2, 1), (3, 3), (4, 2)):
        stages[f'stage{stage}'] = dict(
            num_modules=modules,
            num_branches=stage,
            block='BASIC',
            num_blocks=(2,) * stage,
            num_channels=tuple(width * 2**branch for branch in range(stage)),
        )
    return stages


# By name of the family: name of the net, and its config.
FAMILY_NETS: dict[str, tuple[str, dict[str, Any]]] = {
    'mmdet and mmseg Swin': (
        'Swin-T',
        dict(type='mmdet.SwinTransformer', convert_weights=False, drop_path_rate=0.0),
    ),
    'mmseg ViT': (
        'ViT-S/16',
        dict(
            type='mmseg.VisionTransformer',
            img_size=SIZE,
            embed_dims=384,
            num_heads=6,
            out_indices=(2, 5, 8, 11),
        ),
    ),
    'mmseg BEiT and MAE': (
        'BEiT-S/16',
        dict(
            type='mmseg.BEiT',
            img_size=SIZE,
            embed_dims=384,
            num_heads=6,
            out_indices=(2, 5, 8, 11),
            drop_path_rate=0.0,
        ),
    ),
    'mmseg MiT': (
        'MiT-B2',
        dict(type='mmseg.MixVisionTransformer', num_layers=(3, 4, 6, 3), num_heads=(1, 2, 5, 8)),
    ),
    'mmdet PVT v2': (
        'PVT v2 B2',
        dict(
            type='mmdet.PyramidVisionTransformerV2', num_layers=(3, 4, 6, 3), convert_weights=False
        ),
    ),
    'mmdet PVT': (
        'PVT-T',
        dict(type='mmdet.PyramidVisionTransformer', num_layers=(2, 2, 2, 2), convert_weights=False),
    ),
    'mmseg Twins': (
        'Twins-SVT-S',
        dict(
            type='mmseg.SVT',
            embed_dims=(64, 128, 256, 512),
            num_heads=(2, 4, 8, 16),
            mlp_ratios=(4, 4, 4, 4),
            depths=(2, 2, 10, 4),
            sr_ratios=(8, 4, 2, 1),
            patch_sizes=(4, 2, 2, 2),
            strides=(4, 2, 2, 2),
            windiow_sizes=(7, 7, 7, 7),
            norm_after_stage=True,
            drop_path_rate=0.0,
        ),
    ),
    'mmseg MSCAN': (
        'MSCAN-T',
        dict(
            type='mmseg.MSCAN',
            embed_dims=(32, 64, 160, 256),
            depths=(3, 3, 5, 2),
            drop_path_rate=0.0,
            norm_cfg=dict(type='BN'),
        ),
    ),
    'mmdet and mmseg ResNet': ('ResNet-50', dict(type='mmdet.ResNet', depth=50)),
    'mmdet and mmseg HRNet': ('HRNet-W18 small', dict(type='mmseg.HRNet', extra=_hrnet(18))),
    'mmdet CSPDarknet and CSPNeXt': (
        'CSPNeXt-S',
        dict(type='mmdet.CSPNeXt', deepen_factor=0.33, widen_factor=0.5),
    ),
    'mmdet Darknet': ('Darknet-53', dict(type='mmdet.Darknet', depth=53)),
    'mmdet EfficientNet': ('EfficientNet-B0', dict(type='mmdet.EfficientNet', arch='b0')),
    'mmdet MobileNetV2': (
        'MobileNetV2',
        dict(type='mmdet.MobileNetV2', out_indices=(1, 2, 4, 6)),
    ),
    'mmseg MobileNetV2': (
        'MobileNetV2',
        dict(type='mmseg.MobileNetV2', out_indices=(1, 2, 4, 6)),
    ),
    'mmseg MobileNetV3': (
        'MobileNetV3 large',
        dict(type='mmseg.MobileNetV3', arch='large', out_indices=(1, 3, 16)),
    ),
    'timm ResNet': ('ResNet-50', _timm('resnet50', out_indices=(1, 2, 3, 4))),
    'timm RegNet': ('RegNetY-800MF', _timm('regnety_008', out_indices=(1, 2, 3, 4))),
    'mmpretrain ViT': (
        'ViT-S/16',
        dict(
            type='mmpretrain.VisionTransformer',
            arch='deit-s',
            img_size=SIZE,
            out_type='featmap',
            out_indices=(2, 5, 8, 11),
        ),
    ),
    'mmpretrain BEiT': (
        'BEiT-B/16',
        dict(
            type='mmpretrain.BEiTViT',
            arch='base',
            img_size=SIZE,
            out_type='featmap',
            out_indices=(2, 5, 8, 11),
        ),
    ),
    'mmpretrain SAM ViT': (
        'SAM ViT-B/16',
        dict(type='mmpretrain.ViTSAM', img_size=SIZE, out_indices=(2, 5, 8, 11)),
    ),
    'mmpretrain Swin': (
        'Swin-T',
        dict(
            type='mmpretrain.SwinTransformer',
            arch='tiny',
            img_size=SIZE,
            pad_small_map=True,
            drop_path_rate=0.0,
            out_indices=(0, 1, 2, 3),
        ),
    ),
    'mmpretrain Swin V2': (
        'Swin V2 T',
        dict(
            type='mmpretrain.SwinTransformerV2',
            arch='tiny',
            img_size=SIZE,
            window_size=8,
            pad_small_map=True,
            drop_path_rate=0.0,
            out_indices=(0, 1, 2, 3),
        ),
    ),
    'mmpretrain ConvNeXt': (
        'ConvNeXt-T',
        dict(
            type='mmpretrain.ConvNeXt',
            arch='tiny',
            gap_before_final_norm=False,
            out_indices=(0, 1, 2, 3),
        ),
    ),
    'mmpretrain PoolFormer': (
        'PoolFormer-S12',
        dict(
            type='mmpretrain.PoolFormer',
            arch='s12',
            drop_path_rate=0.0,
            out_indices=(0, 2, 4, 6),
        ),
    ),
    'timm ViT and DINOv2': (
        'DINOv2 ViT-S/14',
        _timm('vit_small_patch14_reg4_dinov2', out_indices=(2, 5, 8, 11)),
    ),
    'timm ViT with norms behind its branches': (
        'ViT-B/16 rpn',
        _timm('vit_base_patch16_rpn_224', out_indices=(2, 5, 8, 11)),
    ),
    'timm ViT of parallel branches': (
        'ViT-B/16 xp',
        _timm('vit_base_patch16_xp_224', out_indices=(2, 5, 8, 11)),
    ),
    'timm NaFlexViT': (
        'NaFlexViT-B/16',
        _timm('naflexvit_base_patch16_gap', out_indices=(2, 5, 8, 11)),
    ),
    'timm Eva and DINOv3': (
        'DINOv3 ViT-S/16',
        _timm('vit_small_patch16_dinov3', out_indices=(2, 5, 8, 11)),
    ),
    'timm Eva with norms behind its branches': (
        'EVA-02 E/14, 4 blocks',
        _timm('eva02_enormous_patch14_clip_224', depth=4, out_indices=(0, 1, 2, 3)),
    ),
    'timm BEiT': (
        'BEiT v2 B/16',
        _timm('beitv2_base_patch16_224', img_size=SIZE, out_indices=(2, 5, 8, 11)),
    ),
    'timm SAM ViT': (
        'SAM ViT-B/16',
        _timm('samvit_base_patch16', img_size=SIZE, out_indices=(2, 5, 8, 11)),
    ),
    'timm PVT v2': ('PVT v2 B2', _timm('pvt_v2_b2')),
    'timm ConvNeXt': ('ConvNeXt-T', _timm('convnext_tiny')),
    'timm Swin V2': ('Swin V2 T', _timm('swinv2_tiny_window8_256', img_size=SIZE)),
    'timm Swin V2 CR': ('Swin V2 CR T', _timm('swinv2_cr_tiny_224', img_size=SIZE)),
    'timm MetaFormer': ('CAFormer-S18', _timm('caformer_s18')),
    'timm ViT relpos': (
        'ViT-S/16 relpos',
        _timm('vit_relpos_small_patch16_224', img_size=SIZE, out_indices=(2, 5, 8, 11)),
    ),
    'timm CaiT': (
        'CaiT-XXS24',
        _timm('cait_xxs24_224', img_size=SIZE, out_indices=(5, 11, 17, 23)),
    ),
    'timm Twins': ('Twins-SVT-S', _timm('twins_svt_small', img_size=SIZE)),
    'timm Swin': ('Swin-T', _timm('swin_tiny_patch4_window7_224')),
    'timm TinyViT': ('TinyViT-21M', _timm('tiny_vit_21m_224')),
    'timm SAM 2 HieraDet': ('SAM 2 Hiera T', _timm('sam2_hiera_tiny')),
    'timm MaxViT': ('MaxViT-T', _timm('maxvit_tiny_tf_224', img_size=SIZE)),
    'timm CoAtNet': ('CoAtNet-0', _timm('coatnet_0_rw_224', img_size=SIZE)),
    'timm DaViT': ('DaViT-T', _timm('davit_tiny')),
    'timm FocalNet': ('FocalNet-T', _timm('focalnet_tiny_srf')),
    'timm MambaOut': ('MambaOut-T', _timm('mambaout_tiny')),
    'timm GCViT': ('GCViT-T', _timm('gcvit_tiny', img_size=SIZE)),
    'timm XCiT': (
        'XCiT-T12/16',
        _timm('xcit_tiny_12_p16_224', out_indices=(2, 5, 8, 11)),
    ),
    'timm PiT': ('PiT-XS', _timm('pit_xs_224', img_size=SIZE)),
    'timm EdgeNeXt': ('EdgeNeXt-S', _timm('edgenext_small')),
}
# Families whose stages are not joined by linear steps.
LOW_RANK = (
    'timm TinyViT', 'timm SAM 2 HieraDet', 'timm MaxViT', 'timm CoAtNet', 'timm GCViT',
)  # fmt: skip
# Families whose stages a highway cannot follow.
IN_PATH_ONLY = ('mmdet EfficientNet', 'mmseg MobileNetV3')


def family_config(family: str, size: int) -> dict[str, Any]:
    """Return the config of a family's net for images of size x size pixels."""
    _, config = FAMILY_NETS[family]
    return {key: size if value is SIZE else value for key, value in config.items()}
