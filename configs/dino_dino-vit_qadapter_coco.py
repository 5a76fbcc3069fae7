"""DINO (the detector), DINOv3 or DINOv2, 1-bit AdaptFormer in the path, COCO, 12 epochs.

python tools/train.py configs/dino_dino-vit_qadapter_coco.py
Another net than DINOv3 ViT-B/16: put MMQADAPTER_VIT=dinov3-l or the like in front.
"""

_base_ = [
    'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
    './_base_/models/dino_vit.py',
    './_base_/tuning.py',
]
_channels = _base_.vit_channels
model = dict(
    data_preprocessor=dict(pad_size_divisor=2 * _base_.vit_patch),
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=dict(_base_.vit, out_indices=_base_.vit.out_indices[1:]),
        adapter=dict(type='AdaptFormer', width=32),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    # Twice, once and half the side of the maps; ChannelMapper adds a quarter.
    neck=[
        dict(
            type='mmseg.MultiLevelNeck',
            in_channels=[_channels] * 3,
            out_channels=256,
            scales=[2, 1, 0.5],
        ),
        dict(_base_.model.neck, in_channels=[256] * 3),
    ],
)
# The recipe's 1e-4 for the detector; the adapters take 1e-3.
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=10.0, decay_mult=0.0)}),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco/bbox_mAP')
)
