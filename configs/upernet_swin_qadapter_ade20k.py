"""UperNet, Swin-B (ImageNet-22k), 1-bit AdaptFormer in the path of the frozen trunk, ADE20K.

python tools/train.py configs/upernet_swin_qadapter_ade20k.py
8 GPUs: bash tools/dist_train.sh configs/upernet_swin_qadapter_ade20k.py 8
32 bits: --cfg-options model.backbone.quantizer.bits=32
Swin-L: --cfg-options with the embed_dims, num_heads and checkpoint of mmseg's Swin-L config
"""

_base_ = [
    'mmseg::swin/swin-base-patch4-window7-in22k-pre_upernet_8xb2-160k_ade20k-512x512.py',
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
# The base's 6e-5 is for a trunk that trains. Here the trunk is frozen: the decoder takes 3e-4, the
# adapters 1e-3 as in arXiv 2307.16867; neither was searched on ADE20K.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(lr=3e-4),
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=3.33, decay_mult=0.0)}),
)
default_hooks = dict(checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='mIoU'))
