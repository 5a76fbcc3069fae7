"""SegFormer, MiT-B5 (ImageNet-1k), 1-bit AdaptFormer in the path of the frozen trunk, ADE20K.

python tools/train.py configs/segformer_mit-b5_qadapter_ade20k.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = [
    'mmseg::segformer/segformer_mit-b5_8xb2-160k_ade20k-512x512.py',
    './_base_/tuning.py',
]
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
# The recipe trains the head at 10 times 6e-5; the adapters take 1e-3.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=16.7, decay_mult=0.0)}),
)
default_hooks = dict(checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='mIoU'))
