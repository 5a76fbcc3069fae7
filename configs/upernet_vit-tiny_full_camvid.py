"""UperNet, ViT-Tiny, full fine-tuning, CamVid: the plain backbone, without a wrapper.

python tools/train.py configs/upernet_vit-tiny_full_camvid.py
"""

_base_ = './upernet_vit-tiny_qadapter_camvid.py'
model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=1 / 30)}))
