"""Your own label maps (a folder of PNGs): UperNet, ViT-Tiny, 1-bit AdaptFormer.

1. Edit the first block of ../_base_/datasets/custom_semantic.py (paths, class names, crop).
2. python tools/check_data.py configs/templates/own_semantic.py
3. python tools/train.py configs/templates/own_semantic.py
Larger network: another model_name of timm, such as 'vit_base_patch14_reg4_dinov2' (embed_dim 768).
"""

_base_ = [
    'mmseg::_base_/default_runtime.py',
    '../_base_/models/upernet_vit-tiny.py',
    '../_base_/datasets/custom_semantic.py',
    '../_base_/schedules/short.py',
    '../_base_/tuning.py',
]
max_iters = 2000  # about 20 passes over 400 images of batch 4
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        # timm fetches the weights once; without a network: checkpoint='FILE', pretrained=False.
        backbone={**_base_.model.backbone, 'checkpoint': None, 'pretrained': True},
        adapter=dict(type='AdaptFormer', width=64, dropout=0.0),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    decode_head=dict(num_classes=len(_base_.classes)),
)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 10)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=max_iters // 10),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=max_iters // 10, end=max_iters),
]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    checkpoint=dict(
        type='mmqadapter.TaskCheckpointHook',
        by_epoch=False,
        interval=max_iters // 10,
        max_keep_ckpts=1,
        save_best='mIoU',
    ),
)
