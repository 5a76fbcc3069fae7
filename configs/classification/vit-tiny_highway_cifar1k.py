"""1,000 images of CIFAR-10: joined highway beside a frozen ViT-Tiny, the mean over all tokens."""

_base_ = './vit-tiny_qadapter_cifar1k.py'
trunk = _base_.model.backbone.backbone
trunk.pop('out_type')  # maps
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmqadapter.HighwayBackbone',
        backbone=trunk,
        adapter=dict(type='ConvAdapter', width=32),
        quantizer=dict(type='GaussianQuantizer', bits=1),
        taps='stream',
        cell='JoinedCell',
        saved_taps='half',
    ),
    neck=dict(type='GlobalAveragePooling'),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'adapters': dict(lr_mult=3.0)}))
