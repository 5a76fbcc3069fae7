"""print(model) shows what was put into a trunk and how the trunk is computed."""

from __future__ import annotations

from tiny_backbones import tiny_config

from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone, HighwayBackbone

ONE_BIT = dict(type='GaussianQuantizer', bits=1)


def test_a_frozen_backbone() -> None:
    text = repr(FrozenBackbone(tiny_config('mmdet_swin'), 'norm', trunk=dict(dtype='bfloat16')))
    assert "family='mmdet and mmseg Swin', blocks=4" in text
    assert "train=['norm']" in text
    assert 'trunk: dtype=bfloat16, attention=stock, mlp=stock, prepacked=False' in text


def test_adapters_in_path_with_their_sites_and_bits() -> None:
    net = AdaptedBackbone(tiny_config('timm_vit'), dict(type='AdaptFormer', width=2), ONE_BIT)
    assert 'AdaptFormer(width=2), 1 bit, at mlp_parallel in 3 blocks\n' in repr(net)
    net = AdaptedBackbone(tiny_config('timm_vit'), dict(type='LoRA', rank=2))
    assert 'LoRA(rank=2), 32 bits, at qkv in 3 blocks\n' in repr(net)
    conv = dict(type='ConvAdapter', scale='learned', width=2, bias=True)
    net = AdaptedBackbone(tiny_config('timm_vit'), conv)
    assert "ConvAdapter(width=2, scale='learned'), 32 bits, at attn_branch, mlp_br" in repr(net)


def test_a_highway_with_its_taps_and_bits() -> None:
    net = HighwayBackbone(
        tiny_config('timm_vit'), dict(type='ConvAdapter', width=2), taps='stream', inpath_blocks=1
    )
    assert "ConvAdapter(width=2), 32 bits, on 2 taps of 3 blocks (taps='stream', " in repr(net)
    assert 'inpath_blocks=1, ' in repr(net)
    net = HighwayBackbone(tiny_config('timm_vit'), dict(type='ConvAdapter', width=2), taps='block')
    assert "on 1 tap of 3 blocks (taps='block', " in repr(net)
