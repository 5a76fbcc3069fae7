"""UperNet, a small Swin distilled from the ViT-Tiny, CamVid: 1-bit highway.

python tools/train.py configs/upernet_swin-distilled_highway_camvid.py
The weights of the Swin (7 million, window 7) come from benchmarks/distil_swin.py.
"""

_base_ = ['./upernet_vit-tiny_highway_camvid.py']
swin = dict(
    type='mmseg.SwinTransformer',
    embed_dims=48,
    depths=(2, 2, 6, 2),
    num_heads=(2, 4, 8, 16),
    window_size=7,
    drop_path_rate=0.0,
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/swin_distilled/swin.pth'),
)
model = dict(
    backbone=dict(backbone=dict(_delete_=True, **swin)),
    neck=None,
    decode_head=dict(in_channels=[48, 96, 192, 384]),
)
