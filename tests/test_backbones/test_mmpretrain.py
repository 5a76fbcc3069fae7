"""What is special to nets of mmpretrain: Swin V2, outputs without maps, and what has no row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from highways import DUAL, own
from highways import trained as trained_highway
from highways import wrap as wrap_highway
from nets import backward, bare, block_by_hand, equal, images, trained, wrap
from test_sites import traced
from tiny_backbones import SWIN_V2, TINY_VIT

from mmqadapter.backbones import AdaptedBackbone, HighwayBackbone

pytest.importorskip('mmpretrain', reason='the extra cls is not installed')
VIT: dict[str, Any] = dict(type='mmpretrain.VisionTransformer', arch=TINY_VIT, img_size=64)
CONV: dict[str, Any] = dict(type='ConvAdapter', width=4)
POOLED: dict[str, dict[str, Any]] = {
    'class token': dict(VIT, out_type='cls_token', out_indices=(0, 2)),
    'mean of a ViT': dict(VIT, out_type='avg_featmap', out_indices=(0, 2)),
    'mean of BEiT': dict(VIT, type='mmpretrain.BEiTViT', out_indices=(0, 2)),
    'mean of ConvNeXt': dict(
        type='mmpretrain.ConvNeXt', arch=dict(depths=[2, 2], channels=[8, 16]), out_indices=(0, 1)
    ),
    'mean of SAM': dict(
        type='mmpretrain.ViTSAM',
        arch={**TINY_VIT, 'global_attn_indexes': [1]},
        img_size=64,
        window_size=3,
        out_channels=16,
        out_type='avg_featmap',
        out_indices=(0, 2),
    ),
}


@pytest.mark.parametrize('adapter', ['adaptformer', 'conv', 'sequential', 'mona'])
@torch.no_grad()
def test_blocks_of_swin_v2(adapter: str) -> None:
    net, wrapped = bare(SWIN_V2), trained(SWIN_V2, adapter).eval()
    assert equal(wrap(SWIN_V2, 'sequential')(images()), net(images()))
    for name, args, kwargs, out in traced(wrapped, images()):
        adapters = wrapped.adapters[name.replace('.', '_')]
        block = net.get_submodule(name)
        torch.testing.assert_close(out, block_by_hand(block, adapters, (0, 0), *args, **kwargs))


def test_highway_on_swin_v2() -> None:
    assert equal(wrap_highway(SWIN_V2)(images()), bare(SWIN_V2)(images()))
    own(backward(trained_highway(SWIN_V2)))


@pytest.mark.parametrize('name', POOLED)
def test_outputs_without_maps(name: str) -> None:
    cfg = POOLED[name]
    expected = bare(cfg)(images())
    assert [len(output.shape) for output in expected] == [2, 2]
    assert equal(wrap(cfg, 'sequential')(images()), expected)
    assert equal(wrap_highway(cfg)(images()), expected)
    own(backward(trained_highway(cfg)))


@torch.no_grad()
def test_a_class_token_of_a_highway_by_hand() -> None:
    cfg = dict(VIT, out_type='cls_token', out_indices=(2,))
    net, wrapped = bare(cfg), trained_highway(cfg, taps='stream')
    seen: list[torch.Tensor] = []
    for block in net.layers:
        block.ln2.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, :1]))
        block.register_forward_hook(lambda _, args, out: seen.append(out[:, :1]))
    net(images())
    cells = [cell for stage in wrapped.highway.stages for cell in stage]
    h = sum(cell.adapter(tap) for cell, tap in zip(cells, seen, strict=True))
    (output,) = wrapped(images())
    torch.testing.assert_close(output, wrapped.highway.norms[0](seen[-1] + h)[:, 0])


@torch.no_grad()
def test_a_mean_of_a_highway_is_that_of_its_map() -> None:
    cfg = dict(VIT, out_indices=(2,))
    (mean,) = trained_highway(dict(cfg, out_type='avg_featmap'), CONV)(images())
    (map_,) = trained_highway(dict(cfg, out_type='featmap'), CONV)(images())
    norm = bare(dict(cfg, out_type='avg_featmap')).ln2
    torch.testing.assert_close(mean, norm(map_.mean((2, 3))))


@pytest.mark.parametrize(
    'changes',
    [
        dict(adapter=CONV),
        dict(adapter=DUAL, stem='ConvStem'),
        dict(adapter=DUAL, cell='StandardizedCell'),
    ],
)
def test_a_class_token_has_no_neighbors(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'cls_token' is invalid .*GlobalAveragePooling.*'NoStem'"):
        HighwayBackbone(dict(VIT, out_type='cls_token'), **changes)


def test_all_tokens_are_no_output_of_a_highway() -> None:
    cfg = dict(VIT, out_type='raw')
    with pytest.raises(ValueError, match="out_type='raw' of mmpretrain ViT is invalid"):
        HighwayBackbone(cfg, DUAL)
    assert wrap(cfg)(images())[0].shape == (2, 17, 16)


def test_sam_without_its_neck() -> None:
    cfg = {**POOLED['mean of SAM'], 'out_type': 'raw', 'out_channels': 0}
    assert equal(wrap_highway(cfg)(images()), bare(cfg)(images()))


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        (dict(type='mmpretrain.ViTEVA02'), 'is a EVA02EndcoderLayer: expected a Transformer'),
        (dict(type='mmpretrain.DeiT3'), 'is a DeiT3TransformerEncoderLayer: expected a Trans'),
    ],
)
def test_relatives_without_a_row_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        AdaptedBackbone({**VIT, **changes}, dict(type='AdaptFormer', width=4))


def test_the_wrapper_of_timm_is_refused_with_ours() -> None:
    cfg = dict(type='mmpretrain.TIMMBackbone', model_name='resnet18')
    with pytest.raises(ValueError, match='TIMMBackbone is not supported: use mmqadapter.TimmBack'):
        AdaptedBackbone(cfg, dict(type='AdaptFormer', width=4))
