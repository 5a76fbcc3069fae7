r"""UperNet, ViT-Tiny, 1-bit AdaptFormer in the path of the frozen trunk, CamVid.

python tools/train.py configs/upernet_vit-tiny_qadapter_camvid.py
32 bits: --cfg-options model.backbone.quantizer.bits=32 \
    optim_wrapper.optimizer.lr=1e-2 optim_wrapper.paramwise_cfg.custom_keys.adapters.lr_mult=0.3
"""

_base_ = [
    'mmseg::_base_/default_runtime.py',
    './_base_/models/upernet_vit-tiny.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/short.py',
    './_base_/tuning.py',
]
model = dict(
    data_preprocessor=dict(size=(240, 320)),
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=_base_.model.backbone,
        adapter=dict(type='AdaptFormer', width=64, dropout=0.0),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    decode_head=dict(num_classes=11, loss_decode=dict(class_weight=_base_.class_weight)),
)
# How the rates were tuned: docs/tuned_settings.md.
optim_wrapper = dict(
    optimizer=dict(lr=3e-3), paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=10 / 3)})
)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    checkpoint=dict(
        type='mmqadapter.TaskCheckpointHook',
        by_epoch=False,
        interval=100,
        max_keep_ckpts=1,
        save_best='mIoU',
    ),
)
