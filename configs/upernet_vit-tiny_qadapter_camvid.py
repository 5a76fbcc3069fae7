r"""UperNet, ViT-Tiny, 1-bit AdaptFormer in the path of the frozen trunk, CamVid.

python tools/train.py configs/upernet_vit-tiny_qadapter_camvid.py
32 bits: --cfg-options model.backbone.quantizer.bits=32 \
    optim_wrapper.paramwise_cfg.custom_keys.adapters.lr_mult=0.3
"""

_base_ = [
    'mmseg::_base_/default_runtime.py',
    './_base_/models/upernet_vit-tiny.py',
    './_base_/datasets/camvid.py',
    './_base_/schedules/short.py',
    './_base_/tuning.py',
]
# Pixels of a class weigh 1 / ln(1.02 + share of all pixels) (ENet, arXiv 1606.02147), mean 1:
# poles, signs and people are learnt in a few hundred iterations instead of thousands.
weights = [0.80, 0.61, 4.77, 0.48, 2.22, 1.26, 4.53, 4.58, 1.84, 5.34, 6.35]
model = dict(
    data_preprocessor=dict(size=(240, 320)),
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='AdaptFormer', width=64, dropout=0.0),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    decode_head=dict(num_classes=11, loss_decode=dict(class_weight=weights)),
)
# Rates tuned by benchmarks/four_methods.py: docs/tuned_settings.md.
optim_wrapper = dict(
    optimizer=dict(lr=1e-2), paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=1.0)})
)
train_cfg = dict(max_iters=400)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=30, end=400, eta_min=0.0),
]
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
