"""trunk=dict(prepacked=True): every linear layer, maps and gradients as the stock net's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import backward, bare, images, images_for, randomize, trained, wrap
from torch import nn

from mmqadapter.backbones import FrozenBackbone, HighwayBackbone
from mmqadapter.backbones.acceleration.prepacked_linear import PrepackedLinear, can_prepack

Factory = Callable[..., dict]
HIGHWAY = dict(adapter=dict(type='ConvAdapter', width=4), taps='stream', cell='JoinedCell')
pytestmark = pytest.mark.skipif(not can_prepack(), reason='this PyTorch comes without oneDNN')


def layers(net: nn.Module) -> set[str]:
    return {name for name, m in net.named_modules() if isinstance(m, PrepackedLinear)}


@torch.no_grad()
@pytest.mark.parametrize('others', [{}, dict(attention='fused', mlp='auto')], ids=len)
def test_equals_the_stock_net(layout_backbone: Factory, others: dict) -> None:
    net = FrozenBackbone(layout_backbone(), trunk=dict(prepacked=True, **others))
    stock = bare(layout_backbone())
    net.load_state_dict(stock.state_dict())
    for size in ((64, 64), (48, 80)):
        x = images_for(layout_backbone(), *size)
        for one, other in zip(net(x), stock(x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_all_layers_that_are_called(layout_backbone: Factory) -> None:
    net = FrozenBackbone(layout_backbone(), trunk=dict(prepacked=True))
    plain = FrozenBackbone(layout_backbone())
    linear = {name for name, m in plain.named_modules() if isinstance(m, nn.Linear)}
    split = any(name.endswith('.q_bias') for name, _ in plain.named_parameters())
    read = 'attn.out_proj', 'attn.qkv' if split else 'attn.out_proj'
    called = {name for name in linear if not name.endswith(read)}
    assert layers(net) == called
    # Some nets have convolutions alone, and attention that does not call its linear layers.
    without = ('MixVision', 'mmdet.Pyr', 'MSCAN', 'ResNet')
    assert called or any(name in str(layout_backbone()) for name in without)
    assert net.state_dict().keys() == plain.state_dict().keys()


def test_what_trains_and_codes_are_left_out(tiny_mmdet_swin: Factory) -> None:
    net = FrozenBackbone(tiny_mmdet_swin(), train=['qkv.bias'], trunk=dict(prepacked=True))
    assert layers(net) and not any(name.endswith('qkv') for name in layers(net))
    pytest.importorskip('torchao', reason='torchao is not installed; `make env` brings it')
    net = FrozenBackbone(tiny_mmdet_swin(), trunk=dict(dtype='int8', prepacked=True))
    assert not any('blocks' in name for name in layers(net))


@pytest.mark.parametrize('adapter', ['adaptformer', 'sequential', 'lora-qkv'])
def test_gradients_in_path(layout_backbone: Factory, adapter: str) -> None:
    found = backward(trained(layout_backbone(), adapter, trunk=dict(prepacked=True)))
    expected = backward(trained(layout_backbone(), adapter))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('options', [{}, dict(dtype='bfloat16')], ids=str)
def test_gradients_of_a_highway(layout_backbone: Factory, options: dict[str, Any]) -> None:
    gradients = []
    for packed in (False, True):
        torch.manual_seed(0)
        net = HighwayBackbone(layout_backbone(), **HIGHWAY, trunk=dict(options, prepacked=packed))
        net.load_state_dict(bare(layout_backbone()).state_dict(), strict=False)
        randomize(net.adapters)
        gradients.append(backward(net))
    for name, gradient in gradients[0].items():
        tolerance = 5e-2 if options else 1e-4
        size = 1 if gradient is None else float(gradient.abs().max())
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=tolerance * size)


def test_a_task_from_one_loads_into_the_other(tiny_mmdet_swin: Factory) -> None:
    one = trained(tiny_mmdet_swin(), trunk=dict(prepacked=True)).eval()
    other = wrap(tiny_mmdet_swin()).eval()
    assert one.fingerprint == other.fingerprint
    one(images())
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        for a, b in zip(one(images()), other(images()), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
