"""DeepLabV3+, ResNet-50-D8, 1-bit Conv-Adapter in the path of the frozen trunk, ADE20K.

python tools/train.py configs/deeplabv3plus_r50_qadapter_ade20k.py
4 GPUs: bash tools/dist_train.sh configs/deeplabv3plus_r50_qadapter_ade20k.py 4
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = [
    'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py',
    './_base_/tuning.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='ParallelConvAdapter'),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    )
)
# AdamW and rates as in the Swin configs for ADE20K; not searched.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=3.33, decay_mult=0.0)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=1500, end=160000, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='mIoU'))
