"""Mask R-CNN, Swin-T, COCO: 1-bit highway beside the frozen trunk.

python tools/train.py configs/mask-rcnn_swin_highway_coco.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = ['./mask-rcnn_swin_qadapter_coco.py', './_base_/methods/highway.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone.backbone, **_base_.method))
