"""UperNet, ViT-B/16, 1-bit AdaptFormer in the path of the frozen trunk, ADE20K.

python tools/train.py configs/upernet_vit_qadapter_ade20k.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
Weights: convert timm's ViT-B/16 with mmsegmentation's tools/model_converters/vit2mmseg.py.
"""

_base_ = [
    'mmseg::vit/vit_vit-b16_mln_upernet_8xb2-80k_ade20k-512x512.py',
    './_base_/tuning.py',
]
checkpoint = 'pretrain/vit_base_patch16_224.pth'
model = dict(
    pretrained=None,  # mmseg would pass it to the wrapper; the network itself loads it
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=dict(
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint), **_base_.model.backbone
        ),
        adapter=dict(type='AdaptFormer', width=32),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
)
# As for Swin: the trunk is frozen, so the decoder takes 3e-4 and the adapters 1e-3.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(lr=3e-4),
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=3.33, decay_mult=0.0)}),
)
default_hooks = dict(checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='mIoU'))
