"""HighwayBackbone: starts as the bare net, takes any size, refuses what it cannot do."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from highways import ADAPTERS, DUAL, IN_PATH, TAPS, own, trained, wrap
from mmengine.registry import MODELS, DefaultScope
from nets import ONE_BIT, bare, equal, images, images_for, is_block, randomize
from torch import nn

from mmqadapter.backbones import FrozenBackbone, HighwayBackbone
from mmqadapter.quant import quantized_weights

Factory = Callable[..., dict]


@TAPS
@IN_PATH
@ADAPTERS
@torch.no_grad()
def test_starts_as_the_bare_net_bit_for_bit(
    layout_backbone: Factory, taps: str, inpath_blocks: int, adapter: dict
) -> None:
    net = bare(layout_backbone())
    wrapped = wrap(layout_backbone(), adapter, taps=taps, inpath_blocks=inpath_blocks).train()
    with torch.enable_grad():
        assert equal(wrapped(images()), net(images()))
    randomize(wrapped.adapters)
    changed = zip(wrapped(images()), net(images()), strict=True)
    assert all((a - b).abs().max() > 1e-3 for a, b in changed)


@pytest.mark.parametrize('bits', [1, 8])
@pytest.mark.parametrize('downsample', ['inherited', 'low-rank'])
def test_quantized_starts_as_the_bare_net_with_a_learned_scale(
    rotating_backbone: Factory, bits: int, downsample: str
) -> None:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    learned = dict(DUAL, scale='learned')
    wrapped = wrap(rotating_backbone(), learned, quantizer=quantizer, downsample=downsample)
    assert equal(wrapped(images()), bare(rotating_backbone())(images()))
    fixed = wrap(rotating_backbone(), quantizer=quantizer, downsample=downsample)
    assert not equal(fixed(images()), bare(rotating_backbone())(images()))


def test_the_start_of_a_later_head_is_left_alone(tiny_timm_vit: Factory) -> None:
    heads = []
    for build in (FrozenBackbone, lambda cfg: HighwayBackbone(cfg, DUAL, ONE_BIT)):
        torch.manual_seed(0)
        build(tiny_timm_vit())
        heads.append(nn.Linear(3, 4).weight)
    assert equal(*([h] for h in heads))


@pytest.mark.parametrize('inpath_blocks', [0, 1])
def test_float16_gradients_are_finite_at_the_start(
    tiny_mmdet_swin: Factory, inpath_blocks: int
) -> None:
    """Four stages, and a loss scaled by what mmengine starts with."""
    stages = dict(depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 2), strides=(4, 2, 2, 2))
    cfg = tiny_mmdet_swin(**stages, out_indices=(0, 1, 2, 3))
    wrapped = wrap(cfg, inpath_blocks=inpath_blocks)
    with torch.autocast('cpu', torch.float16):
        maps = wrapped(images())
        loss = 2.0**16 * sum((m.float() - 1).square().mean() for m in maps)
    loss.backward()
    gradients = own({name: p.grad for name, p in wrapped.named_parameters()})
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    first = gradients['adapters.highway.stages.0.0.adapter.up.outer.weight']
    assert 0 < first.abs().max() < 2.0**16


@torch.no_grad()
def test_one_size_after_another(tiny_backbone: Factory) -> None:
    net, wrapped = bare(tiny_backbone()), wrap(tiny_backbone())
    other = trained(tiny_backbone()).eval()
    for size in [(64, 64), (48, 80), (70, 93), (64, 64)]:
        x = images_for(tiny_backbone(), *size)
        assert equal(wrapped(x), net(x))
        assert equal(other(x), deepcopy(other)(x))


def test_goes_on_after_a_forward_that_failed(tiny_backbone: Factory) -> None:
    wrapped = trained(tiny_backbone(), inpath_blocks=1)
    expected = wrapped(images())
    broken = next(m for m in reversed(list(wrapped.trunk.modules())) if is_block(m))

    def fail(module: nn.Module, args: tuple, output: Any) -> None:
        raise RuntimeError('broken')

    handle = broken.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match='broken'):
        wrapped(images())
    handle.remove()
    assert torch.is_grad_enabled()
    assert equal(wrapped(images()), expected)


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_builds_in_another_scope(layout_backbone: Factory, scope: str) -> None:
    cfg = dict(type='mmqadapter.HighwayBackbone', backbone=layout_backbone(), quantizer=ONE_BIT)
    with DefaultScope.overwrite_default_scope(scope):
        wrapped = MODELS.build(dict(cfg, adapter=DUAL))
    assert isinstance(wrapped, HighwayBackbone)
    assert {quantizer.bits for _, quantizer, _ in quantized_weights(wrapped)} == {1}


@pytest.mark.parametrize('argument', ['taps', 'saved_taps', 'downsample'])
def test_unknown_choices(tiny_timm_vit: Factory, argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}='both' is invalid: expected one of"):
        HighwayBackbone(tiny_timm_vit(), DUAL, **{argument: 'both'})


def test_lora_has_no_place_on_the_highway(tiny_timm_vit: Factory) -> None:
    with pytest.raises(ValueError, match="'LoRA' is invalid on a highway.*DualLowRankAdapter"):
        HighwayBackbone(tiny_timm_vit(), dict(type='LoRA', rank=2))


def test_strides_other_than_two_are_refused(tiny_mmseg_swin: Factory) -> None:
    with pytest.raises(ValueError, match='Only mergings of 2 x 2 tokens are supported'):
        wrap(tiny_mmseg_swin(strides=(4, 1)))
