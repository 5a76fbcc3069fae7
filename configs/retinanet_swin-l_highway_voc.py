"""RetinaNet, Swin-L (ImageNet-22k), Pascal VOC: 1-bit highway (E3VA) beside the frozen trunk.

python tools/train.py configs/retinanet_swin-l_highway_voc.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/datasets/voc0712.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
    './_base_/models/swin-l.py',
    './_base_/tuning.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.HighwayBackbone',
        # RetinaNet starts at stride 8: the map of the first stage would go nowhere.
        backbone=dict(**_base_.swin_l, out_indices=(1, 2, 3)),
        adapter=dict(type='DualLowRankAdapter', branches=2, rank=8),
        quantizer=dict(type='GaussianQuantizer', bits=1),
        saved_taps='half',
    ),
    neck=dict(in_channels=[384, 768, 1536], start_level=0),
    bbox_head=dict(num_classes=20),
)
# As for Mask R-CNN with Swin: 1e-4 for neck and head (batch 16), 1e-3 for the highway.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys={'adapters': dict(lr_mult=10.0, decay_mult=0.0)}
    ),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='pascal_voc/mAP')
)
