"""Mask R-CNN, frozen ViT-Tiny: only neck and heads train, nuclei.

python tools/train.py configs/mask-rcnn_vit-tiny_frozen_nuclei.py
"""

_base_ = './mask-rcnn_vit-tiny_qadapter_nuclei.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.FrozenBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=_base_.model.backbone.backbone,
    )
)
