"""Cascade Mask R-CNN, Swin-L (ImageNet-22k), COCO: 1-bit highway beside the frozen trunk.

python tools/train.py configs/cascade-mask-rcnn_swin-l_highway_coco.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = './cascade-mask-rcnn_swin-b_highway_coco.py'
model = dict(
    backbone=dict(backbone=dict(_delete_=True, **_base_.swin_l)),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
