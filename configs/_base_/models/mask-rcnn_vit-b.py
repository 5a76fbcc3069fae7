"""Mask R-CNN with a plain ViT-B/16 of mmseg.

The plain ViT has one scale; Feature2Pyramid computes strides 4 to 32 from it for the usual FPN.
"""

_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.VisionTransformer',
        img_size=(800, 800),  # size that position embeddings are resized to; any size works
        out_indices=(2, 5, 8, 11),
        norm_cfg=dict(type='LN', eps=1e-6),
        init_cfg=dict(type='Pretrained', checkpoint='pretrain/vit_base_patch16_224.pth'),
    ),
    neck=[
        dict(type='mmseg.Feature2Pyramid', embed_dim=768, norm_cfg=dict(type='BN')),
        dict(type='FPN', in_channels=[768, 768, 768, 768], out_channels=256, num_outs=5),
    ],
)
