"""UperNet, ViT-Tiny, CamVid: 1-bit highway (E3VA) beside the frozen trunk.

python tools/train.py configs/upernet_vit-tiny_highway_camvid.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = './upernet_vit-tiny_qadapter_camvid.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.HighwayBackbone',
        backbone=_base_.model.backbone.backbone,
        adapter=dict(type='DualLowRankAdapter', branches=2, rank=8),
        quantizer=dict(type='GaussianQuantizer', bits=1),
        saved_taps='half',
    )
)
