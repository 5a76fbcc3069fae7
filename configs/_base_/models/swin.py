"""Swin of mmdet with its ImageNet weights: T (ImageNet-1k), B and L (ImageNet-22k)."""


def _swin(embed_dims, depths, num_heads, file):
    weights = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/' + file
    return dict(
        type='SwinTransformer',
        embed_dims=embed_dims,
        depths=depths,
        num_heads=num_heads,
        window_size=7,
        drop_path_rate=0.2,
        convert_weights=True,
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    )


swin_t = _swin(96, (2, 2, 6, 2), (3, 6, 12, 24), 'swin_tiny_patch4_window7_224.pth')
swin_b = _swin(128, (2, 2, 18, 2), (4, 8, 16, 32), 'swin_base_patch4_window7_224_22k.pth')
swin_l = _swin(192, (2, 2, 18, 2), (6, 12, 24, 48), 'swin_large_patch4_window7_224_22k.pth')
