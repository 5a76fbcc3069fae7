"""Cascade Mask R-CNN, ConvNeXt-B, COCO: 1-bit highway beside the frozen trunk.

python tools/train.py configs/cascade-mask-rcnn_convnext-b_highway_coco.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = ['./cascade-mask-rcnn_convnext-b_qadapter_coco.py', './_base_/methods/highway.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone.backbone, **_base_.method))
