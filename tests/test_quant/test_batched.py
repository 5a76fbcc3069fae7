"""quantize_batched: few calls; values and gradients as weight by weight; no stale values."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from mmqadapter.quant import (
    BITS,
    CachedWeights,
    GaussianQuantizer,
    check_quantized_weights,
    quantize_batched,
    quantized_weights,
)


class Counter(TorchDispatchMode):
    """Counts calls of ``index_select``, one for each forward of a quantizer."""

    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 'index_select' in func.name()
        return func(*args, **(kwargs or {}))


def net(bits: int = 1, granularity: str = 'tensor') -> nn.Sequential:
    """Four quantized matrices of two shapes, with one float layer between them."""
    layers = [nn.Linear(6, 4), nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 4), nn.Linear(4, 6)]
    for layer in (*layers[:2], *layers[3:]):
        quantizer = GaussianQuantizer(bits, granularity=granularity)
        parametrize.register_parametrization(layer, 'weight', quantizer)
    return nn.Sequential(*layers).train()


def gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients of the sum of squares of the output, by parameter name."""
    model.zero_grad()
    model(x).square().sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('bits', BITS)
@pytest.mark.parametrize('granularity', ['tensor', 'channel'])
def test_output_and_gradients_are_those_of_weight_by_weight(bits: int, granularity: str) -> None:
    model, x = net(bits, granularity), torch.randn(3, 6)
    output, expected = model(x), gradients(model, x)
    quantize_batched(model)
    torch.testing.assert_close(model(x), output)
    actual = gradients(model, x)
    assert actual.keys() == expected.keys()
    torch.testing.assert_close(actual, expected)


def test_one_call_per_shape() -> None:
    model, x = net(), torch.randn(3, 6)
    with Counter() as one_by_one:
        model(x)
    with Counter() as batched:
        quantize_batched(model)
        model(x)
    assert (one_by_one.calls, batched.calls) == (4, 2)


def test_settings_are_not_mixed() -> None:
    model = net(1)
    model[3].parametrizations['weight'][0].bits = 2
    quantize_batched(model)
    assert [w.unique().numel() for w in (model[0].weight, model[3].weight)] == [2, 4]


def test_a_changed_weight_is_quantized_again() -> None:
    model = net()
    quantize_batched(model)
    latent = next(quantized_weights(model)).latent
    with torch.no_grad():
        latent.mul_(2.0)
    expected = GaussianQuantizer(1)(latent)
    assert torch.equal(model[0].weight, expected)


def test_in_eval_mode_layers_quantize_their_own_weight() -> None:
    model, x = net(), torch.randn(3, 6)
    quantize_batched(model)
    model.eval()
    with Counter() as counter:
        model(x)
    assert counter.calls == 4
    with Counter() as counter:
        quantize_batched(model)
    assert counter.calls == 0


def test_without_gradients_layers_quantize_their_own_weight() -> None:
    model, x = net(), torch.randn(3, 6)
    quantize_batched(model)
    expected = model(x)
    with torch.no_grad(), Counter() as counter:
        quantize_batched(model)
        assert counter.calls == 0
        assert torch.equal(model(x), expected)
    assert counter.calls == 4


def test_weights_are_found_by_name_and_other_parametrizations_skipped() -> None:
    model = net()
    parametrize.register_parametrization(model[2], 'bias', nn.Tanh())
    assert [weight.name for weight in quantized_weights(model)] == ['0', '1', '3', '4']


def test_folded_weights_stay_as_loaded() -> None:
    model = net()
    _, quantizer, latent = next(quantized_weights(model))
    encoded = quantizer.encode(torch.randn_like(latent))
    quantizer.fold(encoded, latent)
    quantize_batched(model)
    assert torch.equal(model[0].weight, quantizer.decode(encoded))


def test_a_copy_is_independent() -> None:
    model, x = net(), torch.randn(3, 6)
    quantize_batched(model)
    copy, expected = deepcopy(model), model(x)
    with torch.no_grad():
        for weight in quantized_weights(copy):
            weight.latent.normal_()
    quantize_batched(copy)
    assert not torch.equal(copy(x), expected)
    assert torch.equal(model(x), expected)


def test_a_broken_weight_becomes_nan_alone_and_is_named_by_the_check() -> None:
    model = net()
    check_quantized_weights(model)
    with torch.no_grad():
        model[4].parametrizations['weight'].original[0, 0] = float('nan')
    quantize_batched(model)
    assert model[4].weight.isnan().all() and not model[0].weight.isnan().any()
    with pytest.raises(ValueError, match=r'^4: a weight of shape .* NaN'):
        check_quantized_weights(model)


def test_restored_values_are_read_in_place_of_later_ones() -> None:
    model, x = net(), torch.randn(3, 6)
    quantize_batched(model)
    cached = CachedWeights(model)
    first = model[0].weight
    quantize_batched(model)
    assert model[0].weight is not first
    cached.restore()
    assert model[0].weight is first
    trained = cached.trained(model)
    ends = {id(tensor) for tensor in trained}
    assert len(ends) == len(list(model.parameters()))
    latents = {id(weight.latent) for weight in quantized_weights(model)}
    assert id(first) in ends and id(model[2].weight) in ends and not latents & ends
    grads = torch.autograd.grad(model(x).sum(), trained)
    assert all(grad is not None for grad in grads)
