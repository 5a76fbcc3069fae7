"""Fused attention: the stock attention within rounding, forward and backward, in any use."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from nets import ADAPTERS, bare, images, randomize
from old_torch import needs_torch
from torch import Tensor, nn

from mmqadapter.backbones import FAMILIES, AdaptedBackbone, FrozenBackbone, HighwayBackbone
from mmqadapter.backbones.acceleration.class_swap import fuse_attention
from mmqadapter.utils.accounting import saved_for_backward

Factory = Callable[..., dict]
FUSED = dict(attention='fused')
DUAL = dict(type='DualLowRankAdapter', branches=2, rank=2)
# Grids of 16 x 16 and 8 x 8 tokens, odd ones, smaller ones than a window of 4 x 4 tokens.
SIZES = [(64, 64), (48, 80), (70, 93), (20, 12), (64, 64)]
FUSED_FAMILIES = pytest.mark.parametrize(
    'family', ['mmdet_swin', 'mmseg_swin', 'mmseg_vit', 'timm_swin']
)


@pytest.fixture
def tiny_fused(family: str, request: pytest.FixtureRequest) -> Factory:
    """Config of a net whose attention is computed in another way."""
    return request.getfixturevalue(f'tiny_{family}')


def fused(cfg: dict, **kwargs: Any) -> FrozenBackbone:
    """``bare(cfg)`` with fused attention, in eval mode."""
    net = FrozenBackbone(cfg, trunk=FUSED, **kwargs)
    net.load_state_dict(bare(cfg).state_dict())
    return net.eval()


def close(first: tuple[Tensor, ...], second: tuple[Tensor, ...], error: float) -> None:
    """Maps agree to ``error`` of their size."""
    for one, other in zip(first, second, strict=True):
        assert (one - other).norm() <= error * other.norm()


@FUSED_FAMILIES
@torch.no_grad()
def test_equals_the_stock_net_in_one_size_after_another(tiny_fused: Factory) -> None:
    """In double precision, where rounding hides nothing."""
    stock, net = bare(tiny_fused()).double(), fused(tiny_fused()).double()
    for size in SIZES:
        for batch in (2, 1):
            x = images(*size)[:batch].double()
            close(net(x), stock(x), 1e-12)


@FUSED_FAMILIES
@torch.no_grad()
def test_is_as_exact_as_the_stock_net(tiny_fused: Factory) -> None:
    exact = bare(tiny_fused()).double()(images().double())
    stock, net = bare(tiny_fused()), fused(tiny_fused())
    close(net(images()), exact, 1e-5)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast('cpu', dtype):
            maps, rival = net(images()), stock(images())
        for one, other, best in zip(maps, rival, exact, strict=True):
            assert (one - best).norm() <= 1.5 * (other - best).norm()


@FUSED_FAMILIES
def test_every_attention_is_fused(tiny_fused: Factory) -> None:
    net = fused(tiny_fused())
    ways = dict(net.family.fused)
    names = [f'{type(m).__module__}.{type(m).__qualname__}' for m in net.trunk.modules()]
    assert ways and not ways.keys() & set(names)
    assert fuse_attention(bare(tiny_fused()), net.family.fused) > 0


@torch.no_grad()
def test_timm_vit_is_fused_by_itself(tiny_timm_vit: Factory) -> None:
    net, stock = fused(tiny_timm_vit()), bare(tiny_timm_vit())
    assert all(torch.equal(a, b) for a, b in zip(net(images()), stock(images()), strict=True))
    assert 'timm ViT and DINOv2' in {f.name for f in FAMILIES if not f.fused}


@FUSED_FAMILIES
@pytest.mark.parametrize('adapter', ['sequential', 'lora'])
@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.filterwarnings('ignore:.*use_reentrant', 'ignore:None of the inputs')
def test_gradients_in_path(tiny_fused: Factory, adapter: str, with_cp: bool) -> None:
    cfg = tiny_fused(with_cp=with_cp)
    expected = gradients(moved(AdaptedBackbone, cfg, ADAPTERS[adapter]))
    found = gradients(moved(AdaptedBackbone, cfg, ADAPTERS[adapter], trunk=FUSED))
    assert expected and all(name.startswith('adapters.') for name in expected)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@FUSED_FAMILIES
@pytest.mark.parametrize('train', ['bitfit', 'partial-2'])
def test_gradients_of_the_trunk_itself(tiny_fused: Factory, train: str) -> None:
    """Position biases that train are gathered anew in each forward."""
    nets = [moved(FrozenBackbone, tiny_fused(), train, trunk=trunk) for trunk in (None, FUSED)]
    expected, found = (gradients(net) for net in nets)
    tables = [n for n, _ in nets[0].named_parameters() if 'position_bias_table' in n]
    assert set(tables[-2:]) <= expected.keys()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@FUSED_FAMILIES
def test_highway(tiny_fused: Factory) -> None:
    nets = [moved(HighwayBackbone, tiny_fused(), DUAL, trunk=trunk) for trunk in (None, FUSED)]
    expected, found = (gradients(net) for net in nets)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def moved(wrapper: Callable[..., FrozenBackbone], cfg: dict, *args: Any, **kwargs: Any) -> Any:
    """``bare(cfg)`` wrapped, in double precision, with adapters that have moved."""
    torch.manual_seed(0)
    net = wrapper(cfg, *args, **kwargs)
    net.load_state_dict(bare(cfg).state_dict(), strict=False)
    randomize(net.adapters)
    return net.double()


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """Of a loss on all maps of images of odd sizes."""
    maps = net(images(52, 70).double())
    loss = sum((m * torch.linspace(0, 1, m.numel()).view_as(m)).sum() for m in maps)
    loss.backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@needs_torch(2, 4, 'fused attention with a mask on the CPU')
@FUSED_FAMILIES
def test_keeps_less_for_backward(tiny_fused: Factory) -> None:
    kept = []
    for trunk in (None, FUSED):
        net = AdaptedBackbone(tiny_fused(), ADAPTERS['adaptformer'], trunk=trunk)
        with saved_for_backward(net) as saved:
            net(images())
        kept.append(saved.total)
    assert kept[1] < kept[0]


@FUSED_FAMILIES
@torch.no_grad()
def test_other_weights_after_a_forward(tiny_fused: Factory) -> None:
    """Position biases that were gathered are forgotten."""
    stock, net = bare(tiny_fused()), fused(tiny_fused())
    net(images())
    randomize(stock)
    net.load_state_dict(stock.state_dict())
    close(net(images()), stock(images()), 1e-5)
    stock, net = stock.double(), net.double()
    close(net(images().double()), stock(images().double()), 1e-12)


@FUSED_FAMILIES
def test_keys_and_modules_are_those_of_the_stock_net(tiny_fused: Factory) -> None:
    stock, net = bare(tiny_fused()), fused(tiny_fused())
    net(images())
    assert net.trunk.state_dict().keys() == stock.state_dict().keys()
    assert [n for n, _ in net.trunk.named_modules()] == [n for n, _ in stock.named_modules()]
    plain = FrozenBackbone(tiny_fused())
    plain.load_state_dict(stock.state_dict())
    assert net.fingerprint == plain.fingerprint


@FUSED_FAMILIES
@torch.no_grad()
def test_copies_are_independent(tiny_fused: Factory) -> None:
    net = fused(tiny_fused())
    before = net(images())
    average, copy = ExponentialMovingAverage(net), deepcopy(net)
    randomize(net.trunk)
    for other in (average, copy):
        assert all(torch.equal(a, b) for a, b in zip(other(images()), before, strict=True))
    assert not torch.equal(net(images())[-1], before[-1])


@FUSED_FAMILIES
@torch.no_grad()
def test_training_mode_is_stock_dropout_included(tiny_fused: Factory) -> None:
    """The wrapper never sets it; whoever does gets the same random numbers as without us."""
    rates = dict(attn_drop_rate=0.5, drop_rate=0.2, drop_path_rate=0.0)
    if 'model_name' in tiny_fused():
        rates = dict(attn_drop_rate=0.5, proj_drop_rate=0.2, drop_path_rate=0.0)
    outputs = []
    for net in (bare(tiny_fused(**rates)), fused(tiny_fused(**rates)).trunk):
        net.train()
        torch.manual_seed(3)
        outputs.append(net(images()))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


@FUSED_FAMILIES
def test_inference_mode_before_training(tiny_fused: Factory) -> None:
    net = AdaptedBackbone(tiny_fused(), ADAPTERS['adaptformer'], trunk=FUSED)
    with torch.inference_mode():
        net(images())
    net(images())[-1].sum().backward()
    assert all(p.grad is not None for p in net.adapters.parameters())


@FUSED_FAMILIES
def test_trains_after_inference_mode(tiny_fused: Factory) -> None:
    """More tokens than a piece: what is laid out once may be needed by a graph later."""
    net = AdaptedBackbone(tiny_fused(), ADAPTERS['lora'], trunk=FUSED)
    with torch.inference_mode():
        net.eval()(images(160, 160))
    sum(m.sum() for m in net.train()(images(160, 160))).backward()
    assert all(p.grad is not None for p in net.adapters.parameters())


@torch.no_grad()
def test_what_is_written_past_autograd_counts_from_the_next_mode(tiny_mmdet_swin: Factory) -> None:
    """As EMA hooks and loaders write: through ``.data``, which changes no version."""
    net, other = fused(tiny_mmdet_swin()), fused(tiny_mmdet_swin())
    net(images())
    for one in (net, other):
        for name, parameter in one.trunk.named_parameters():
            if 'position_bias' in name:
                parameter.data.copy_(torch.arange(parameter.numel()).view_as(parameter) % 7)
    net.train()
    assert all(map(torch.equal, net.eval()(images()), other(images())))
