"""Mask R-CNN, plain ViT-B/16, COCO: 1-bit highway beside the frozen trunk.

python tools/train.py configs/mask-rcnn_vit_highway_coco.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = ['./mask-rcnn_vit_qadapter_coco.py', './_base_/methods/highway.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone.backbone, **_base_.method))
