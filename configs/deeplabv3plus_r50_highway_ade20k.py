"""DeepLabV3+, ResNet-50-D8, ADE20K: 1-bit highway beside the frozen trunk.

python tools/train.py configs/deeplabv3plus_r50_highway_ade20k.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = ['./deeplabv3plus_r50_qadapter_ade20k.py', './_base_/methods/highway.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone.backbone, **_base_.method))
