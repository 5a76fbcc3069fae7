"""Cascade Mask R-CNN, ConvNeXt-B (ImageNet-22k), 1-bit AdaptFormer in the path, COCO, 12 epochs.

python tools/train.py configs/cascade-mask-rcnn_convnext-b_qadapter_coco.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
DINOv3's ConvNeXt: --cfg-options model.backbone.backbone.model_name=convnext_base.dinov3_lvd1689m
"""

_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/default_runtime.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/tuning.py',
]
net = dict(type='mmqadapter.TimmBackbone', model_name='convnext_base.fb_in22k', pretrained=True)
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=net,
        adapter=dict(type='AdaptFormer', width=32),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco/segm_mAP')
)
