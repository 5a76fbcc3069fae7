"""SegFormer, MiT-B5, ADE20K: 1-bit highway beside the frozen trunk.

python tools/train.py configs/segformer_mit-b5_highway_ade20k.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = ['./segformer_mit-b5_qadapter_ade20k.py', './_base_/methods/highway.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone.backbone, **_base_.method))
