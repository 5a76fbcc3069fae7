"""UperNet, frozen ViT-Tiny: only the decoder trains, CamVid.

python tools/train.py configs/upernet_vit-tiny_frozen_camvid.py
"""

_base_ = './upernet_vit-tiny_qadapter_camvid.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.FrozenBackbone',
        trunk=dict(attention='auto', mlp='auto', prepacked='auto'),
        backbone=_base_.model.backbone.backbone,
    )
)
