"""Mask R-CNN with a ViT-Tiny of timm and narrow heads (64 channels), for small data and a CPU.

The plain ViT has one scale; Feature2Pyramid computes strides 4 to 32 from it for an FPN of 64
channels.
"""

_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
width = 64
model = dict(
    data_preprocessor=dict(
        mean=[127.5, 127.5, 127.5],  # these weights expect RGB in [-1, 1]
        std=[127.5, 127.5, 127.5],
    ),
    backbone=dict(
        _delete_=True,
        type='mmqadapter.TimmBackbone',
        model_name='vit_tiny_patch16_224',
        checkpoint='{{$MMQADAPTER_DATA:data}}/weights/vit_tiny_patch16_224.safetensors',
        out_indices=(2, 5, 8, 11),
    ),
    neck=[
        dict(type='mmseg.Feature2Pyramid', embed_dim=192, norm_cfg=dict(type='BN')),
        dict(type='FPN', in_channels=[192, 192, 192, 192], out_channels=width, num_outs=5),
    ],
    rpn_head=dict(in_channels=width, feat_channels=width),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width),
        bbox_head=dict(in_channels=width, fc_out_channels=256, num_classes=1),
        mask_roi_extractor=dict(out_channels=width),
        mask_head=dict(in_channels=width, conv_out_channels=width, num_convs=2, num_classes=1),
    ),
)
