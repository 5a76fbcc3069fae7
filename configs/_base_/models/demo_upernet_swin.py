"""UperNet with a very small Swin (32 to 256 channels) and a light decoder, for 96 x 96 images."""

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
        bgr_to_rgb=True,
        size=(96, 96),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='SwinTransformer',
        pretrain_img_size=96,
        embed_dims=32,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        window_size=6,
        drop_path_rate=0.0,
        init_cfg=None,
    ),
    decode_head=dict(
        type='UPerHead',
        in_channels=[32, 64, 128, 256],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 3),
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
