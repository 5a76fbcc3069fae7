"""Mask2Former, DINOv3 or DINOv2, 1-bit AdaptFormer in the path of the frozen trunk, ADE20K.

python tools/train.py configs/mask2former_dino-vit_qadapter_ade20k.py
Another net than DINOv3 ViT-B/16: put MMQADAPTER_VIT=dinov3-l or the like in front.
"""

_base_ = [
    'mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py',
    './_base_/models/dino_vit.py',
]
# As in ./_base_/tuning.py, which cannot be a base beside one that has imports of its own.
custom_imports = dict(imports=['mmdet.models', 'mmqadapter'])
_hooks = ('PretrainedTrunk', 'ExactResume', 'FiniteLoss', 'LearningRates', 'MissingGradient')
custom_hooks = [dict(type=f'mmqadapter.{name}Hook') for name in (*_hooks, 'Efficiency')]
_channels, _crop = _base_.vit_channels, _base_.vit_crop
model = dict(
    data_preprocessor=dict(size=_crop, test_cfg=dict(size_divisor=2 * _base_.vit_patch)),
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=_base_.vit,
        adapter=dict(type='AdaptFormer', width=32),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    neck=dict(
        type='Feature2Pyramid',
        embed_dim=_channels,
        rescales=[4, 2, 1, 0.5],
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    ),
    decode_head=dict(in_channels=[_channels] * 4),
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(step, crop_size=_crop) if step['type'] == 'RandomCrop' else step
            for step in _base_.train_dataloader.dataset.pipeline
        ]
    )
)
# The recipe's 1e-4 for the head; the adapters take 1e-3.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=10.0, decay_mult=0.0)}),
)
default_hooks = dict(checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='mIoU'))
