"""Cascade Mask R-CNN, Swin-B (ImageNet-22k), COCO: 1-bit highway beside the frozen trunk.

python tools/train.py configs/cascade-mask-rcnn_swin-b_highway_coco.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/default_runtime.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/models/swin.py',
    './_base_/methods/highway.py',
    './_base_/tuning.py',
]
model = dict(
    backbone=dict(_delete_=True, backbone=_base_.swin_b, **_base_.method),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco/segm_mAP')
)
