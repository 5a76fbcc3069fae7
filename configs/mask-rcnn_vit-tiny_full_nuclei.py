"""Mask R-CNN, ViT-Tiny, full fine-tuning, nuclei: the plain backbone, without a wrapper.

python tools/train.py configs/mask-rcnn_vit-tiny_full_nuclei.py
"""

_base_ = './mask-rcnn_vit-tiny_qadapter_nuclei.py'
model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.3)}))
