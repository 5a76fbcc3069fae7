"""Mask R-CNN, Swin-T, 1-bit AdaptFormer in the path of the frozen trunk, COCO, 12 epochs.

python tools/train.py configs/mask-rcnn_swin_qadapter_coco.py
8 GPUs: bash tools/dist_train.sh configs/mask-rcnn_swin_qadapter_coco.py 8
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = ['mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py', './_base_/tuning.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=_base_.model.backbone,
        adapter=dict(type='AdaptFormer', width=32),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    )
)
# Neck and heads keep the base's 1e-4 (batch 16); adapters take 1e-3, the rate of arXiv 2307.16867.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=10.0, decay_mult=0.0)}),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco/segm_mAP')
)
