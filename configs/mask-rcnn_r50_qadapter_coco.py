"""Mask R-CNN, ResNet-50, 1-bit Conv-Adapter in the path of the frozen trunk, COCO, 12 epochs.

python tools/train.py configs/mask-rcnn_r50_qadapter_coco.py
8 GPUs: bash tools/dist_train.sh configs/mask-rcnn_r50_qadapter_coco.py 8
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', './_base_/tuning.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='ParallelConvAdapter'),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    )
)
# AdamW as in the Swin configs, batch 16; the base's SGD has one rate for adapters and heads.
# Not searched.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=10.0, decay_mult=0.0)}),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco/segm_mAP')
)
