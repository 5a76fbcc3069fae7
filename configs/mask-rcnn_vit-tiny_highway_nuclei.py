"""Mask R-CNN, ViT-Tiny, nuclei: 1-bit highway beside the frozen trunk.

python tools/train.py configs/mask-rcnn_vit-tiny_highway_nuclei.py
32 bits: --cfg-options model.backbone.quantizer.bits=32 model.backbone.adapter.width=32
"""

_base_ = ['./mask-rcnn_vit-tiny_qadapter_nuclei.py', './_base_/methods/highway.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone.backbone, **_base_.method))
# 1 bit needs more width: docs/highway.md.
model['backbone']['adapter'] = dict(type='ConvAdapter', width=64)
# How the rate was tuned: docs/tuned_settings.md.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=10.0)}))
