"""Quantisers of a wrapped backbone, batched: gradients of each alone, whatever runs in between."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from nets import ONE_BIT, backward, images, randomize
from torch import Tensor, nn

from mmqadapter.backbones import FrozenBackbone
from mmqadapter.backbones.batched_quantizers import quantize_beside_backbone
from mmqadapter.quant import LayerQuantizer, parametrize_weight, quantized_weights
from mmqadapter.registry import MODELS

Factory = Callable[..., dict]
CONV = dict(type='ConvAdapter', width=4)
HIGHWAY = dict(type='HighwayBackbone', taps='stream', cell='JoinedCell')
EVERY_WRAPPER = pytest.mark.parametrize(
    'options',
    [
        dict(type='AdaptedBackbone'),
        HIGHWAY,
        dict(HIGHWAY, inpath_blocks=1),
        dict(HIGHWAY, downsample='low-rank', stem='ConvStem'),
    ],
    ids=['in-path', 'highway', 'both', 'highway-low-rank'],
)
pytestmark = pytest.mark.filterwarnings('ignore:.*use_reentrant', 'ignore:None of the inputs')


def build(cfg: dict, options: dict[str, Any]) -> FrozenBackbone:
    """A wrapper with adapters of 1 bit that have moved."""
    torch.manual_seed(0)
    if any(net in str(cfg) for net in ('MSCAN', 'ResNet')):  # they refuse stems
        options = {key: value for key, value in options.items() if key != 'stem'}
    wrapped = MODELS.build(dict(options, backbone=cfg, adapter=CONV, quantizer=ONE_BIT))
    randomize(wrapped.adapters)
    return wrapped.train()


def alone(wrapped: FrozenBackbone) -> FrozenBackbone:
    """The same, each quantiser by itself."""
    copy = deepcopy(wrapped)
    copy._forward_pre_hooks.clear()
    return copy


def moved(gradients: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Those that are there."""
    return {name: gradient for name, gradient in gradients.items() if gradient is not None}


@EVERY_WRAPPER
@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients(rotating_backbone: Factory, options: dict, with_cp: bool) -> None:
    wrapped = build(rotating_backbone(with_cp=with_cp), options)
    expected = moved(backward(alone(wrapped)))
    found = moved(backward(wrapped))
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@EVERY_WRAPPER
def test_layers_read_shared_values(rotating_backbone: Factory, options: dict) -> None:
    wrapped = build(rotating_backbone(), options)
    wrapped(images())
    weights = list(quantized_weights(wrapped))
    assert weights
    assert all(weight.quantizer.cached.get(weight.latent) is not None for weight in weights)


@EVERY_WRAPPER
def test_two_forward_passes_before_backward(rotating_backbone: Factory, options: dict) -> None:
    wrapped = build(rotating_backbone(), options)
    twice = [sum(m.square().sum() for m in wrapped(x)) for x in (images(), images().flip(-1))]
    sum(twice).backward()
    found = {n: p.grad.clone() for n, p in wrapped.named_parameters() if p.grad is not None}
    wrapped.zero_grad()
    for x in (images(), images().flip(-1)):  # the gradients of each in turn
        sum(m.square().sum() for m in wrapped(x)).backward()
    expected = {n: p.grad for n, p in wrapped.named_parameters() if p.grad is not None}
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@EVERY_WRAPPER
def test_a_step_changes_what_is_read(rotating_backbone: Factory, options: dict) -> None:
    wrapped = build(rotating_backbone(), options)
    wrapped(images())
    weight = next(quantized_weights(wrapped))
    before = weight.quantizer.cached.get(weight.latent).clone()
    with torch.no_grad():
        for _, _, latent in quantized_weights(wrapped):
            latent.mul_(3.0)
    wrapped(images())
    torch.testing.assert_close(weight.quantizer.cached.get(weight.latent), 3.0 * before)


@EVERY_WRAPPER
def test_a_copy_after_a_step(rotating_backbone: Factory, options: dict) -> None:
    wrapped = build(rotating_backbone(), options)
    maps = wrapped(images())
    for one, other in zip(maps, deepcopy(wrapped)(images()), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('options', [dict(type='AdaptedBackbone'), dict(HIGHWAY, inpath_blocks=2)])
def test_activation_checkpointing_of_mmengine(
    layout_backbone: Factory, options: dict[str, Any]
) -> None:
    """Its runner turns it on by names of modules, after building.

    Of the last block alone: its checkpoints give nothing to a block whose input has no gradient.
    """
    if any(name in str(layout_backbone()) for name in ('dinov3', 'beitv2', 'relpos')):
        pytest.skip('it passes on positional arguments alone, and these blocks take others')
    nets = [build(layout_backbone(), options) for _ in range(2)]
    blocks = [n for n, _ in nets[1].named_modules() if re.fullmatch(nets[1].family.blocks, n[6:])]
    turn_on_activation_checkpointing(nets[1], blocks[-1:])
    torch.testing.assert_close(backward(nets[1]), backward(nets[0]), rtol=1e-4, atol=1e-6)


def test_a_cell_in_eval_mode_has_its_gradients(tiny_timm_vit: Factory) -> None:
    nets = [build(tiny_timm_vit(), dict(HIGHWAY)) for _ in range(2)]
    nets[1].adapters['highway'].stages[0][0].eval()
    torch.testing.assert_close(backward(nets[1]), backward(nets[0]), rtol=1e-4, atol=1e-6)


class Shared(nn.Module):
    """A wrapped backbone, and a head of two equal layers at 2 bits that each map goes through."""

    def __init__(self, backbone: dict) -> None:
        super().__init__()
        self.backbone = build(backbone, dict(type='AdaptedBackbone'))
        self.head = nn.Sequential(nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 1))
        for layer in self.head[::2]:
            parametrize_weight(layer, 'weight', LayerQuantizer(2))

    def forward(self, maps: list[Tensor]) -> Tensor:
        return sum(self.head(one).square().sum() for one in maps)

    def gradients(self, maps: list[Tensor]) -> list[Tensor]:
        self.zero_grad()
        self(maps).backward()
        return [p.grad.clone() for p in self.head.parameters()]


@pytest.fixture
def calls(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of what layers' quantisers were asked for, one for each call."""
    seen: list[tuple[int, ...]] = []
    real = LayerQuantizer.statistics

    def statistics(quantizer: LayerQuantizer, stack: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(tuple(stack.shape))
        return real(quantizer, stack)

    monkeypatch.setattr(LayerQuantizer, 'statistics', statistics)
    return seen


def test_a_head_that_maps_share_is_quantised_once(tiny_timm_vit: Factory, calls: list) -> None:
    model, maps = Shared(tiny_timm_vit()).train(), [torch.rand(1, 16, 2, 2) for _ in range(3)]
    alone = model.gradients(maps)
    assert calls == [(1, 16, 16, 1, 1)] * 6
    calls.clear()
    quantize_beside_backbone(model)
    torch.testing.assert_close(model.gradients(maps), alone)
    assert calls == [(2, 16, 16, 1, 1)]
    # A second backward pass in a step finds no graph that is gone.
    torch.testing.assert_close(model.gradients(maps), alone)
