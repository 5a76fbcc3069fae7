"""AdaptedBackbone: starts as the bare net, changes it, and gradients stay in the adapters."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS, DefaultScope
from nets import (
    ADAPTERS,
    ONE_BIT,
    backward,
    bare,
    equal,
    images,
    images_for,
    randomize,
    require_site,
    trained,
    wrap,
)
from torch import Tensor, nn

from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone
from mmqadapter.quant import quantized_weights
from mmqadapter.utils.accounting import saved_for_backward

EVERY_ADAPTER = pytest.mark.parametrize('adapter', ADAPTERS)
Factory = Callable[..., dict]


@EVERY_ADAPTER
@torch.no_grad()
def test_starts_as_the_bare_net(tiny_backbone: Factory, adapter: str) -> None:
    net, wrapped = bare(tiny_backbone()), wrap(tiny_backbone(), adapter).train()
    assert equal(wrapped(images()), net(images()))
    randomize(wrapped.adapters)
    changed = zip(wrapped(images()), net(images()), strict=True)
    assert all((a - b).abs().max() > 1e-3 for a, b in changed)


@EVERY_ADAPTER
@torch.no_grad()
def test_quantized_starts_as_the_bare_net(tiny_timm_vit: Factory, adapter: str) -> None:
    cfg = dict(ADAPTERS[adapter], scale='learned')
    wrapped = AdaptedBackbone(tiny_timm_vit(), cfg, ONE_BIT)
    wrapped.trunk.load_state_dict(bare(tiny_timm_vit()).state_dict())
    assert equal(wrapped(images()), bare(tiny_timm_vit())(images()))


def test_adapters_leave_the_random_start_of_a_later_head_alone(tiny_timm_vit: Factory) -> None:
    heads = []
    for quantizer in (None, ONE_BIT):
        torch.manual_seed(0)
        AdaptedBackbone(tiny_timm_vit(), ADAPTERS['adaptformer'], quantizer)
        heads.append(nn.Linear(3, 4).weight)
    torch.manual_seed(0)
    FrozenBackbone(tiny_timm_vit())
    assert equal(heads, [nn.Linear(3, 4).weight] * 2)


@torch.no_grad()
def test_starts_as_a_net_with_rms_norms(tiny_timm_vit: Factory) -> None:
    cfg = tiny_timm_vit(model_name='aimv2_large_patch14_224', img_size=56)
    assert equal(wrap(cfg)(images()), bare(cfg)(images()))
    assert not equal(trained(cfg)(images()), bare(cfg)(images()))


@EVERY_ADAPTER
@pytest.mark.parametrize('quantizer', [None, ONE_BIT], ids=['float', '1-bit'])
def test_only_adapters_get_gradients(
    rotating_backbone: Factory, adapter: str, quantizer: dict | None
) -> None:
    wrapped = trained(rotating_backbone(), adapter, quantizer=quantizer).train()
    gradients = backward(wrapped)
    moved = _moved(gradients)
    assert set(moved) == {name for name in gradients if name.startswith('adapters.')}
    assert all(gradient.abs().max() > 0 for gradient in moved.values())


@EVERY_ADAPTER
def test_blocks_behind_the_last_map_get_no_adapter(
    rotating_backbone: Factory, adapter: str
) -> None:
    everywhere = wrap(rotating_backbone(), adapter)
    wrapped = trained(rotating_backbone(out_indices=(0,)), adapter)
    assert 0 < len(wrapped.adapters) < len(everywhere.adapters)
    gradients = backward(wrapped)
    assert all(p.grad is not None for p in wrapped.adapters.parameters())
    assert all(gradients[f'trunk.{name}'] is None for name, _ in wrapped.trunk.named_parameters())


def test_trunk_keys_are_those_of_the_bare_net(tiny_backbone: Factory) -> None:
    keys = wrap(tiny_backbone()).state_dict().keys()
    trunk = {key.removeprefix('trunk.') for key in keys if not key.startswith('adapters.')}
    assert trunk == set(bare(tiny_backbone()).state_dict())


@EVERY_ADAPTER
@torch.no_grad()
def test_ema_copy_is_independent(rotating_backbone: Factory, adapter: str) -> None:
    wrapped = trained(rotating_backbone(), adapter).eval()
    average = ExponentialMovingAverage(wrapped)
    before = wrapped(images())
    randomize(wrapped.adapters)
    after = wrapped(images())
    assert not equal(after, before)
    # Not bit for bit: rounding in PyTorch's matrix products depends on `requires_grad`.
    torch.testing.assert_close(average(images()), before, rtol=1e-5, atol=1e-5)
    randomize(average.module.adapters, 0.5)
    assert not equal(average(images()), before)
    assert equal(wrapped(images()), after)


@EVERY_ADAPTER
@pytest.mark.filterwarnings('ignore:.*use_reentrant', 'ignore:None of the inputs')
def test_checkpointing_gives_equal_gradients(rotating_backbone: Factory, adapter: str) -> None:
    plain, recomputed = (trained(rotating_backbone(with_cp=on), adapter) for on in (False, True))
    assert _saved_bytes(recomputed) < _saved_bytes(plain)
    expected, gradients = _moved(backward(plain)), _moved(backward(recomputed))
    # Not bit for bit: rounding in PyTorch's matrix products depends on `requires_grad`.
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-5)


def _saved_bytes(net: nn.Module) -> int:
    with saved_for_backward(net) as counter:
        net(images())
    return counter.total


def _moved(gradients: dict[str, Tensor | None]) -> dict[str, Tensor]:
    return {name: gradient for name, gradient in gradients.items() if gradient is not None}


@EVERY_ADAPTER
@pytest.mark.parametrize('quantizer', [None, ONE_BIT], ids=['float', '1-bit'])
def test_bfloat16_autocast(
    rotating_backbone: Factory, adapter: str, quantizer: dict | None
) -> None:
    wrapped = trained(rotating_backbone(), adapter, quantizer=quantizer).train()
    with torch.autocast('cpu', torch.bfloat16):
        gradients = backward(wrapped)
    for name, parameter in wrapped.adapters.named_parameters():
        assert parameter.dtype == torch.float32
        assert gradients[f'adapters.{name}'].isfinite().all()


@pytest.mark.parametrize('adapter', ['adaptformer', 'conv'])
@torch.no_grad()
def test_one_size_after_another(rotating_backbone: Factory, adapter: str) -> None:
    net, wrapped = bare(rotating_backbone()), wrap(rotating_backbone(), adapter)
    other = trained(rotating_backbone(), adapter).eval()
    for size in [(64, 64), (48, 80), (70, 93), (64, 64)]:
        x = images_for(rotating_backbone(), *size)
        assert equal(wrapped(x), net(x))
        assert equal(other(x), deepcopy(other)(x))


@pytest.mark.parametrize('blocks', ['last-2', r'\.1$'])
def test_some_blocks(rotating_backbone: Factory, blocks: str) -> None:
    everywhere, wrapped = wrap(rotating_backbone()), wrap(rotating_backbone(), blocks=blocks)
    names = list(everywhere.adapters)
    wanted = names[-2:] if blocks == 'last-2' else [n for n in names if n.endswith('_1')]
    assert list(wrapped.adapters) == wanted
    assert wrapped.tuning_config['blocks'] == blocks


@pytest.mark.parametrize('blocks', ['last-0', 'last-99', 'nothing'])
def test_blocks_that_are_not_there(tiny_timm_vit: Factory, blocks: str) -> None:
    with pytest.raises(ValueError, match=f'blocks={blocks!r}'):
        wrap(tiny_timm_vit(), blocks=blocks)


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_builds_in_another_scope(layout_backbone: Factory, scope: str) -> None:
    inner = layout_backbone()
    require_site(inner, 'lora')
    if inner['type'].split('.')[0] == scope:
        inner['type'] = inner['type'].split('.')[1]
    cfg = dict(type='mmqadapter.AdaptedBackbone', backbone=inner, quantizer=ONE_BIT)
    with DefaultScope.overwrite_default_scope(scope):
        wrapped = MODELS.build(dict(cfg, adapter=ADAPTERS['lora']))
    assert isinstance(wrapped, AdaptedBackbone)
    assert '.' in inner['type'] or type(wrapped.trunk).__module__.startswith(scope)
    assert all(quantizer.bits == 1 for _, quantizer, _ in quantized_weights(wrapped))


def test_32_bits_mean_float(tiny_timm_vit: Factory) -> None:
    wrapped = wrap(tiny_timm_vit(), quantizer=dict(type='GaussianQuantizer', bits=32))
    assert not list(quantized_weights(wrapped))
    assert wrapped.tuning_config == wrap(tiny_timm_vit()).tuning_config


@pytest.mark.parametrize(
    ('adapter', 'match'),
    [
        (dict(width=4), 'no `type`'),
        (dict(type='AdaptFormr', width=4), "'AdaptFormr'.*AdaptFormer"),
        (dict(type='AdaptFormer', breadth=4), 'breadth'),
        (dict(type='GaussianQuantizer', bits=1), 'GaussianQuantizer'),
    ],
)
def test_wrong_adapter(tiny_timm_vit: Factory, adapter: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        AdaptedBackbone(tiny_timm_vit(), adapter)
