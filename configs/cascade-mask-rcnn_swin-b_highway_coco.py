"""Cascade Mask R-CNN, Swin-B (ImageNet-22k), COCO: 1-bit highway (E3VA) beside the frozen trunk.

python tools/train.py configs/cascade-mask-rcnn_swin-b_highway_coco.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
    './_base_/models/swin-b.py',
    './_base_/tuning.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.HighwayBackbone',
        backbone=_base_.swin_b,
        adapter=dict(type='DualLowRankAdapter', branches=2, rank=8),
        quantizer=dict(type='GaussianQuantizer', bits=1),
        saved_taps='half',
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
# As for Mask R-CNN with Swin: 1e-4 for neck and heads (batch 16), 1e-3 for the highway.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys={'adapters': dict(lr_mult=10.0, decay_mult=0.0)}
    ),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco/segm_mAP')
)
