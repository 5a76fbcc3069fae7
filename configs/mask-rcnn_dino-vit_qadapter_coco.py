"""Mask R-CNN, DINOv3 or DINOv2, 1-bit AdaptFormer in the path of the frozen trunk, COCO, 12 epochs.

python tools/train.py configs/mask-rcnn_dino-vit_qadapter_coco.py
Another net than DINOv3 ViT-B/16: put MMQADAPTER_VIT=dinov3-l or the like in front.
"""

_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/default_runtime.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/models/dino_vit.py',
    './_base_/tuning.py',
]
_channels, _strides = _base_.vit_channels, _base_.vit_strides
model = dict(
    data_preprocessor=dict(pad_size_divisor=2 * _base_.vit_patch),
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=_base_.vit,
        adapter=dict(type='AdaptFormer', width=32),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    # The plain ViT has one scale; Feature2Pyramid makes four of it for the usual FPN.
    neck=[
        dict(type='mmseg.Feature2Pyramid', embed_dim=_channels, norm_cfg=dict(type='SyncBN')),
        dict(type='FPN', in_channels=[_channels] * 4, out_channels=256, num_outs=5),
    ],
    rpn_head=dict(anchor_generator=dict(strides=[*_strides, 2 * _strides[-1]])),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=_strides),
        mask_roi_extractor=dict(featmap_strides=_strides),
    ),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco/segm_mAP')
)
