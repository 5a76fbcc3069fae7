"""UperNet with a ViT-Tiny of timm and a light decoder (64 channels), for small data and a CPU.

The plain ViT has one scale; Feature2Pyramid computes strides 4, 8, 16 and 32 from it.
"""

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5, 127.5, 127.5],  # these weights expect RGB in [-1, 1]
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='mmqadapter.TimmBackbone',
        model_name='vit_tiny_patch16_224',
        checkpoint='{{$MMQADAPTER_DATA:data}}/weights/vit_tiny_patch16_224.safetensors',
        out_indices=(2, 5, 8, 11),
    ),
    neck=dict(type='Feature2Pyramid', embed_dim=192, rescales=[4, 2, 1, 0.5], norm_cfg=norm_cfg),
    decode_head=dict(
        type='UPerHead',
        in_channels=[192, 192, 192, 192],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=64,
        # mmseg initializes conv_seg with std 0.01, too little for short runs to learn rare classes.
        init_cfg=dict(type='Normal', std=0.1, override=dict(name='conv_seg')),
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
