"""Mask R-CNN, ViT-Tiny, nuclei: 1-bit highway beside the frozen trunk.

python tools/train.py configs/mask-rcnn_vit-tiny_highway_nuclei.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
    with optim_wrapper.paramwise_cfg.custom_keys.adapters.lr_mult=3.0
"""

_base_ = ['./mask-rcnn_vit-tiny_qadapter_nuclei.py', './_base_/methods/highway.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone.backbone, **_base_.method))
# More width than in other configs: docs/highway.md.
model['backbone']['adapter'] = dict(type='ConvAdapter', width=128)
# How the rate was tuned: docs/tuned_settings.md.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=10.0)}))
