"""Mask R-CNN, plain ViT-B/16, 1-bit AdaptFormer in the path of the frozen trunk, COCO, 12 epochs.

python tools/train.py configs/mask-rcnn_vit_qadapter_coco.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
Weights: convert timm's ViT-B/16 with mmsegmentation's tools/model_converters/vit2mmseg.py.
"""

_base_ = [
    './_base_/models/mask-rcnn_vit-b.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/default_runtime.py',
    './_base_/schedules/adamw_1x.py',
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
    ),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco/segm_mAP')
)
