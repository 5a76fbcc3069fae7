"""A plain ViT of DINOv3 or DINOv2 from timm, and the numbers of it that heads need.

The environment variable MMQADAPTER_VIT names it: dinov3-s, dinov3-b (default), dinov3-l, dinov2-s,
dinov2-b or dinov2-l. timm downloads the weights, which expect the colors of ImageNet, as the models
of mmdetection and mmsegmentation do. DINOv2 has patches of 14 pixels: strides and crops differ.
"""

_name = '{{$MMQADAPTER_VIT:dinov3-b}}'
_sizes = dict(s=('small', 384, 12), b=('base', 768, 12), l=('large', 1024, 24))
_weights = dict(
    dinov3=('vit_{}_patch16_dinov3.lvd1689m', 16), dinov2=('vit_{}_patch14_reg4_dinov2.lvd142m', 14)
)
_family, _, _size = _name.partition('-')
if _family not in _weights or _size not in _sizes:
    raise ValueError(
        f'MMQADAPTER_VIT={_name!r} is invalid: expected dinov3-s, dinov3-b, dinov3-l, dinov2-s, '
        'dinov2-b or dinov2-l.'
    )
vit_channels, vit_patch = _sizes[_size][1], _weights[_family][1]
vit = dict(
    type='mmqadapter.TimmBackbone',
    model_name=_weights[_family][0].format(_sizes[_size][0]),
    pretrained=True,
    out_indices=[_sizes[_size][2] * quarter // 4 - 1 for quarter in (1, 2, 3, 4)],
)
# Feature2Pyramid makes four scales of its maps.
vit_strides = [vit_patch / 4, vit_patch / 2, vit_patch, vit_patch * 2]
vit_crop = (vit_patch * 32, vit_patch * 32) if vit_patch == 16 else (vit_patch * 37, vit_patch * 37)
