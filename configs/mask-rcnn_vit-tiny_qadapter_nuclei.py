r"""Mask R-CNN, ViT-Tiny, 1-bit AdaptFormer in the path of the frozen trunk, nuclei.

python tools/train.py configs/mask-rcnn_vit-tiny_qadapter_nuclei.py
32 bits: --cfg-options model.backbone.quantizer.bits=32 \
    optim_wrapper.paramwise_cfg.custom_keys.adapters.lr_mult=3.0
"""

_base_ = [
    'mmdet::_base_/default_runtime.py',
    './_base_/models/mask-rcnn_vit-tiny.py',
    './_base_/datasets/nuclei.py',
    './_base_/schedules/short.py',
    './_base_/tuning.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=_base_.model.backbone,
        adapter=dict(type='AdaptFormer', width=64, dropout=0.0),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    # Nuclei are small and many: anchors are smaller and proposals fewer than for COCO.
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    train_cfg=dict(rpn_proposal=dict(max_per_img=500), rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rpn=dict(max_per_img=500), rcnn=dict(max_per_img=200)),
)
# How the rates were tuned: docs/tuned_settings.md.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=10.0)})
)
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    checkpoint=dict(
        type='mmqadapter.TaskCheckpointHook', by_epoch=False, interval=100, max_keep_ckpts=1,
        save_best='coco/segm_mAP',
    ),
)  # fmt: skip
