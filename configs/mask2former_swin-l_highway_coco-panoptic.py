"""Mask2Former, Swin-L, COCO panoptic: 1-bit highway beside the frozen trunk.

python tools/train.py configs/mask2former_swin-l_highway_coco-panoptic.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = ['./mask2former_swin-l_qadapter_coco-panoptic.py', './_base_/methods/highway.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone.backbone, **_base_.method))
