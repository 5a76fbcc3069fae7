"""Mask2Former, Swin-L (ImageNet-22k), 1-bit AdaptFormer in the path, COCO panoptic.

python tools/train.py configs/mask2former_swin-l_qadapter_coco-panoptic.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = [
    'mmdet::mask2former/mask2former_swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic.py',
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
# The recipe's 1e-4 for the head; the adapters take 1e-3.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=10.0, decay_mult=0.0)}),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco_panoptic/PQ')
)
