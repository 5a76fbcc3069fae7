"""UperNet, ViT-Tiny, CamVid: the highway in its published form (E3VA), at 1 bit.

python tools/train.py configs/upernet_vit-tiny_highway-published_camvid.py
"""

_base_ = ['./upernet_vit-tiny_qadapter_camvid.py', './_base_/methods/highway_published.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone.backbone, **_base_.method))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=1.0)}))
