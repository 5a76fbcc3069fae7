"""Your own instances (a COCO JSON per split): Mask R-CNN, ViT-Tiny, 1-bit AdaptFormer.

1. Edit the first block of ../_base_/datasets/custom_instances.py (paths, class names, scale).
2. python tools/check_data.py configs/templates/own_instances.py
3. python tools/train.py configs/templates/own_instances.py
"""

_base_ = [
    'mmdet::_base_/default_runtime.py',
    '../_base_/models/mask-rcnn_vit-tiny.py',
    '../_base_/datasets/custom_instances.py',
    '../_base_/schedules/short.py',
    '../_base_/tuning.py',
]
max_iters = 2000  # about 10 passes over 400 images of batch 2
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.AdaptedBackbone',
        # timm fetches the weights once; without a network: checkpoint='FILE', pretrained=False.
        backbone={**_base_.model.backbone, 'checkpoint': None, 'pretrained': True},
        adapter=dict(type='AdaptFormer', width=64, dropout=0.0),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    roi_head=dict(
        bbox_head=dict(num_classes=len(_base_.classes)),
        mask_head=dict(num_classes=len(_base_.classes)),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 10)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=max_iters // 10),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=max_iters // 10, end=max_iters),
]
log_processor = dict(by_epoch=False)
default_hooks = dict(
    checkpoint=dict(
        type='mmqadapter.TaskCheckpointHook',
        by_epoch=False,
        interval=max_iters // 10,
        max_keep_ckpts=1,
        save_best='coco/segm_mAP',
    )
)
