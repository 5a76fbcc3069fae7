"""Properties of all adapters at all bit widths: start, gradients, training, order, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from torch import Tensor

from mmqadapter.adapters import Adapter, AdaptFormer, build_adapter, is_float
from mmqadapter.adapters.scale import LearnedScale
from mmqadapter.quant import quantized_weights

Change = Callable[[Adapter, Tensor], Tensor]
ALL_BITS = pytest.mark.parametrize('bits', [1, 2, 4, 8, 32])
LOW_BITS = pytest.mark.parametrize('bits', [1, 2, 4, 8])
SCALES = pytest.mark.parametrize('scale', [1.0, 'learned'])


def build(config: dict[str, Any], bits: int = 32, **changes: Any) -> Adapter:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    return build_adapter({**config, **changes}, quantizer, channels=16)


def tokens() -> Tensor:
    return torch.randn(2, 9, 16)


@SCALES
def test_a_float_adapter_starts_at_zero(
    adapter_config: dict, change: Change, scale: float | str
) -> None:
    assert not change(build(adapter_config, scale=scale), tokens()).any()


@LOW_BITS
def test_a_quantized_adapter_with_a_learned_scale_starts_at_zero(
    adapter_config: dict, change: Change, bits: int
) -> None:
    adapter = build(adapter_config, bits, scale='learned')
    assert isinstance(adapter.scale, LearnedScale) and adapter.scale.weight == 0
    assert not change(adapter, tokens()).any()


@LOW_BITS
def test_a_quantized_adapter_with_a_fixed_scale_starts_near_zero(
    adapter_config: dict, change: Change, bits: int
) -> None:
    size = change(build(adapter_config, bits), tokens()).abs().max()
    assert 0 < size < 0.05


def test_a_quantized_up_projection_starts_as_a_narrow_normal(adapter_config: dict) -> None:
    for down, up in build(adapter_config, 1).pairs():
        latent = up.parametrizations.weight.original
        assert 5e-4 < latent.std() < 1e-3 and latent.abs().max() <= 2e-3
        assert down.parametrizations.weight.original.abs().max() <= down.in_features**-0.5


@ALL_BITS
@SCALES
def test_training_moves_every_parameter_and_fits(
    adapter_config: dict, change: Change, bits: int, scale: float | str
) -> None:
    adapter, x = build(adapter_config, bits, scale=scale), tokens()
    start = {name: p.detach().clone() for name, p in adapter.named_parameters()}
    target = torch.ones_like(change(adapter, x))
    target[..., 16:32] = 0  # the middle projection, where only q and v are adapted
    optimizer = torch.optim.Adam(adapter.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (change(adapter.train(), x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for name, parameter in adapter.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
        assert not torch.equal(parameter, start[name]), name
    assert losses[-1] < 0.9 * losses[0]


@LOW_BITS
def test_at_most_two_to_the_bits_values(adapter_config: dict, bits: int) -> None:
    for pair in build(adapter_config, bits).pairs():
        assert all(len(layer.weight.unique()) <= 2**bits for layer in pair)


def test_a_scale_multiplies_the_output(adapter_config: dict, change: Change) -> None:
    plain, scaled = (build(adapter_config, 1, scale=s).eval() for s in (1, 10))
    scaled.load_state_dict(plain.state_dict())
    x = tokens()
    torch.testing.assert_close(change(scaled, x), 10 * change(plain, x))


def test_quantized_weights_come_in_stored_order() -> None:
    adapter = build(dict(type='LoRA', rank=2, targets=('v', 'q')), 1)
    names = [name for name, _, _ in quantized_weights(adapter)]
    assert names == ['products.q.down', 'products.q.up', 'products.v.down', 'products.v.up']
    latents = [latent for _, _, latent in quantized_weights(adapter)]
    layers = [layer for pair in adapter.pairs() for layer in pair]
    assert [id(x) for x in latents] == [id(y.parametrizations.weight.original) for y in layers]


def test_float_adapters_have_no_quantized_weights(adapter_config: dict) -> None:
    assert not list(quantized_weights(build(adapter_config)))


def test_32_bits_or_none_mean_float() -> None:
    assert is_float(None) and is_float(dict(type='GaussianQuantizer', bits=32))
    assert not is_float(dict(type='GaussianQuantizer', bits=8))


def test_mmengine_configs_build_too(adapter_config: dict) -> None:
    quantizer = ConfigDict(type='mmqadapter.GaussianQuantizer', bits=2)
    adapter = build_adapter(ConfigDict(adapter_config), quantizer, channels=16)
    assert {q.bits for _, q, _ in quantized_weights(adapter)} == {2}


def test_a_type_may_be_given_as_a_class() -> None:
    assert isinstance(build(dict(type=AdaptFormer, width=2)), AdaptFormer)


@pytest.mark.parametrize(
    ('adapter', 'text'),
    [
        (dict(type='AdaptFormr', width=4), "'AdaptFormr'; registered in mmqadapter: .*AdaptFormer"),
        (dict(width=4), "'width': 4} has no `type`"),
        (
            dict(type='AdaptFormer'),
            "adapter=.*'AdaptFormer'} lacks width: expected arguments of AdaptFormer: width, dr",
        ),
        (
            dict(type='AdaptFormer', width=4, rank=2),
            'has rank: expected arguments of AdaptFormer: width, ',
        ),
        (dict(type='AdaptFormer', width=0), 'width=0 is invalid: expected 1 or more'),
        (dict(type='SequentialAdapter', width=-1), 'width=-1 is invalid'),
        (dict(type='AdaptFormer', width=4, dropout=1), r'dropout=1 is invalid: .* \[0, 1\)'),
        (
            dict(type='AdaptFormer', width=4, scale=0),
            'scale=0 is invalid: expected a finite number',
        ),
        (dict(type='LoRA', rank=0), 'rank=0 is invalid: expected 1 or more'),
        (dict(type='AdaptFormer', width=4.5), r'width=4\.5 is invalid: .* as a whole number'),
        (dict(type='Mona', width=4.0), r'width=4\.0 is invalid: .* as a whole number'),
        (dict(type='ConvAdapter', width=None), 'width=None is invalid: .* as a whole number'),
        (dict(type='LoRA', rank='8'), "rank='8' is invalid: .* as a whole number"),
        (dict(type='LoRA', rank=True), 'rank=True is invalid: .* as a whole number'),
        (dict(type='LoRand', branches='2'), "branches='2' is invalid: .* as a whole number"),
        (dict(type='Mona', dropout='0.1'), r"dropout='0\.1' is invalid: .* \[0, 1\)"),
        (dict(type='AdaptFormer', width=4, bias='False'), "bias='False' is invalid: .*True or Fal"),
        (dict(type='ConvAdapter', width=2, kernel_size='3'), "kernel_size='3' is invalid: exp"),
        (dict(type='ConvAdapter', width=2, kernel_size=3.0), r'kernel_size=3\.0 is invalid: exp'),
        (dict(type='LoRA', rank=2, targets=3), "targets=3 is invalid: expected some of 'q', 'k'"),
        (dict(type='LoRA', rank=2, targets=[['q']]), r"targets=\[\['q'\]\] is invalid"),
        (dict(type='LoRA', rank=2, targets=('q', 'x')), r"targets=\('q', 'x'\) is invalid"),
        (
            dict(type='LoRA', rank=2, targets=()),
            r"targets=\(\) is invalid: expected some of 'q', 'k'",
        ),
    ],
)
def test_wrong_settings_are_refused(adapter: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        build(adapter)


@pytest.mark.parametrize(
    ('quantizer', 'text'),
    [
        (dict(type='GaussianQuantizer', bits=3), 'bits=3 is invalid: expected one of 1, 2, 4, 8'),
        (dict(type='UniformQuantizer', bits=1), "Unknown type 'UniformQuantizer'"),
        (dict(type='GaussianQuantizer'), 'quantizer=.* lacks bits: expected arguments of Gauss'),
        (dict(type='GaussianQuantizer', bits=1, criterion='l0'), "criterion='l0' is invalid"),
    ],
)
def test_wrong_quantizers_are_refused(quantizer: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        build_adapter(dict(type='AdaptFormer', width=4), quantizer, channels=16)


def test_a_type_that_is_no_adapter_is_refused() -> None:
    with pytest.raises(ValueError, match="'TimmBackbone' is invalid: expected an adapter"):
        build_adapter(dict(type='TimmBackbone', model_name='vit_tiny_patch16_224', depth=1), None)


def test_a_type_that_is_no_quantizer_is_refused() -> None:
    adapter = dict(type='AdaptFormer', channels=16, width=2)
    with pytest.raises(ValueError, match="'AdaptFormer' is invalid: expected GaussianQuantizer"):
        build_adapter(dict(type='AdaptFormer', width=4), adapter, channels=16)
