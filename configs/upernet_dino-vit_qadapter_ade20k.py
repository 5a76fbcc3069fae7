"""UperNet, DINOv3 or DINOv2, 1-bit AdaptFormer in the path of the frozen trunk, ADE20K.

python tools/train.py configs/upernet_dino-vit_qadapter_ade20k.py
Another net than DINOv3 ViT-B/16: put MMQADAPTER_VIT=dinov3-l or the like in front.
"""

_base_ = [
    'mmseg::vit/vit_vit-b16_mln_upernet_8xb2-80k_ade20k-512x512.py',
    './_base_/models/dino_vit.py',
    './_base_/tuning.py',
]
_channels, _crop = _base_.vit_channels, _base_.vit_crop
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=_crop),
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=_base_.vit,
        adapter=dict(type='AdaptFormer', width=32),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    neck=dict(in_channels=[_channels] * 4, out_channels=_channels),
    decode_head=dict(in_channels=[_channels] * 4),
    auxiliary_head=dict(in_channels=_channels),
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(step, crop_size=_crop) if step['type'] == 'RandomCrop' else step
            for step in _base_.train_dataloader.dataset.pipeline
        ]
    )
)
# As for Swin: the trunk is frozen, so the decoder takes 3e-4 and the adapters 1e-3.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(lr=3e-4),
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=3.33, decay_mult=0.0)}),
)
default_hooks = dict(checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='mIoU'))
