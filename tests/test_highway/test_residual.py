"""FusedResidual: h + A(x) and gradients by hand, h in place, only the input of A saved."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmqadapter.adapters import TokenAdapter, build_adapter
from mmqadapter.highway import SAVED_TAPS, FusedResidual, add_updates
from mmqadapter.quant import quantize_batched
from mmqadapter.utils.accounting import saved_for_backward

GRID = (5, 6)
ADAPTERS = pytest.mark.parametrize(
    'config',
    [
        dict(type='AdaptFormer', width=8, dropout=0.0),
        dict(type='AdaptFormer', width=8, dropout=0.0, bias=True, scale='learned'),
        dict(type='SequentialAdapter', width=8, scale=0.5),
        dict(type='DualLowRankAdapter'),
        dict(type='LoRand'),
        dict(type='ConvAdapter', width=8, kernel_size=(3, 5)),
        dict(type='Mona', width=8, dropout=0.0),
        dict(type='ParallelConvAdapter', scale=0.5),
    ],
    ids=lambda config: '-'.join(str(value) for value in config.values()),
)


def adapter(config: dict[str, Any], bits: int = 32) -> TokenAdapter:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    built = build_adapter(config, quantizer, channels=32)
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.3)
    assert isinstance(built, TokenAdapter)
    return built


def grid_args(module: TokenAdapter) -> tuple[tuple[int, int], ...]:
    return (GRID,) if module.spatial else ()


def tokens(count: int = 2) -> list[Tensor]:
    return [torch.randn(2, 30, 32) for _ in range(count)]


def gradients(module: TokenAdapter, output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    return list(torch.autograd.grad((output * weights).sum(), [*inputs, *module.parameters()]))


@ADAPTERS
@pytest.mark.parametrize('bits', [1, 32])
def test_values_and_gradients_are_those_of_the_sum(config: dict, bits: int) -> None:
    module = adapter(config, bits)
    h, x = (tensor.requires_grad_() for tensor in tokens())
    plain = h + module(x, *grid_args(module))
    expected = gradients(module, plain, [h, x])
    added = FusedResidual(SAVED_TAPS['float'])(h.clone(), module, x, *grid_args(module))
    torch.testing.assert_close(added, plain, rtol=1e-4, atol=1e-4)
    for actual, exact in zip(gradients(module, added, [h, x]), expected, strict=True):
        assert (actual - exact).norm() <= 1e-5 * exact.norm()


@pytest.mark.parametrize('bits', [1, 32])
def test_weights_quantized_beforehand_get_their_gradients(bits: int) -> None:
    module, (h, x) = adapter(dict(type='DualLowRankAdapter'), bits), tokens()
    expected = gradients(module, h + module(x), [])
    quantize_batched(module)
    added = FusedResidual(SAVED_TAPS['float'])(h, module, x)
    for actual, exact in zip(gradients(module, added, []), expected, strict=True):
        assert (actual - exact).norm() <= 1e-5 * exact.norm()


SPATIAL = ('ConvAdapter', 'Mona', 'ParallelConvAdapter')
CONFIGS = [mark for mark in ADAPTERS.args[1] if mark['type'] not in SPATIAL]


@pytest.mark.parametrize('bits', [1, 32])
@pytest.mark.parametrize('start', [(2, 30, 32), (1, 1, 1)], ids=str)
def test_updates_added_together_equal_updates_one_by_one(bits: int, start: tuple[int, ...]) -> None:
    modules = nn.ModuleList(adapter(config, bits) for config in CONFIGS)
    h, taps = torch.randn(start, requires_grad=True), tokens(len(modules))
    taps[1].requires_grad_()
    plain = h + sum(module(x) for module, x in zip(modules, taps, strict=True))
    expected = gradients(modules, plain, [h, taps[1]])
    residual = FusedResidual(SAVED_TAPS['float'])
    updates = [residual.update(module, x) for module, x in zip(modules, taps, strict=True)]
    added = add_updates(h.clone(), updates)
    torch.testing.assert_close(added, plain, rtol=1e-4, atol=1e-4)
    for actual, exact in zip(gradients(modules, added, [h, taps[1]]), expected, strict=True):
        assert (actual - exact).norm() <= 1e-5 * exact.norm()


@pytest.mark.parametrize('name', SAVED_TAPS)
def test_only_the_inputs_of_updates_are_saved(name: str) -> None:
    modules = nn.ModuleList(adapter(dict(type='DualLowRankAdapter')) for _ in range(3))
    h, *taps = tokens(4)
    residual = FusedResidual(SAVED_TAPS[name])
    with saved_for_backward(modules) as saved:
        updates = [residual.update(module, x) for module, x in zip(modules, taps, strict=True)]
        add_updates(h, updates)
    assert saved.total == 3 * 60 * {'float': 4 * 32, 'half': 2 * 32, 'int8': 32 + 4}[name]


def test_equal_gradients_of_biases_do_not_share_memory() -> None:
    modules = [adapter(dict(type='SequentialAdapter', width=8)) for _ in range(2)]
    residual, (h, *taps) = FusedResidual(SAVED_TAPS['float']), tokens(3)
    updates = [residual.update(module, x) for module, x in zip(modules, taps, strict=True)]
    add_updates(h, updates).sum().backward()
    first, second = (module.up.bias.grad for module in modules)
    assert torch.equal(first, second)
    first.zero_()
    assert second.any()


def test_a_frozen_projection_takes_no_gradient() -> None:
    module, (h, x) = adapter(dict(type='SequentialAdapter', width=8)), tokens()
    module.up.requires_grad_(False)
    FusedResidual(SAVED_TAPS['float'])(h, module, x).sum().backward()
    assert module.up.bias.grad is None and module.up.weight.grad is None
    assert module.down.weight.grad.any()


def test_the_stream_is_changed_in_place() -> None:
    module, (h, x) = adapter(dict(type='SequentialAdapter', width=8)), tokens()
    expected = h + module(x)
    added = FusedResidual(SAVED_TAPS['float'])(h, module, x)
    assert added.data_ptr() == h.data_ptr()
    torch.testing.assert_close(h, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    'start',
    [
        torch.zeros(1, 1, 1),
        torch.randn(2, 32, 30).transpose(1, 2),
        torch.randn(60, 32).view(2, 30, 32),
    ],
    ids=['one token', 'strided', 'view'],
)
def test_a_stream_that_cannot_hold_the_sum_is_not_changed(start: Tensor) -> None:
    module, (x,) = adapter(dict(type='SequentialAdapter', width=8)), tokens(1)
    before = start.clone()
    added = FusedResidual(SAVED_TAPS['float'])(start, module, x)
    torch.testing.assert_close(added, before + module(x), rtol=1e-4, atol=1e-4)
    assert torch.equal(start, before)


def test_a_start_of_one_token_gets_the_sum_of_all_gradients() -> None:
    module, (x,) = adapter(dict(type='SequentialAdapter', width=8)), tokens(1)
    start = torch.zeros(1, 1, 1, requires_grad=True)
    FusedResidual(SAVED_TAPS['float'])(start, module, x).sum().backward()
    assert start.grad is not None and start.grad.item() == pytest.approx(2 * 30 * 32)


@ADAPTERS
@pytest.mark.parametrize('name', SAVED_TAPS)
def test_only_the_input_is_saved(config: dict, name: str) -> None:
    module, (h, x) = adapter(config), tokens()
    with saved_for_backward(module) as saved:
        FusedResidual(SAVED_TAPS[name])(h, module, x, *grid_args(module))
    expected = 60 * {'float': 4 * 32, 'half': 2 * 32, 'int8': 32 + 4}[name]
    # Weights that are computed in each step (scaled, or multiplied with cores) are saved as well.
    weights = 4 * 32 * 16 + 4 * 32 if config['type'] == 'LoRand' or 'scale' in config else 0
    assert expected <= saved.total <= expected + 2 * weights


def test_dropout_is_the_same_in_both_passes() -> None:
    module, (h, x) = adapter(dict(type='AdaptFormer', width=8, dropout=0.5)), tokens()
    results = []
    residual = FusedResidual(SAVED_TAPS['float'])
    for call in (lambda h, x: h + module(x), lambda h, x: residual(h, module, x)):
        torch.manual_seed(3)
        results.append(gradients(module, call(h.clone(), x), []))
    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(plain, fused)


@pytest.mark.parametrize('bits', [1, 32])
def test_under_autocast_products_are_bfloat16_and_the_stream_float32(bits: int) -> None:
    module, (h, x) = adapter(dict(type='SequentialAdapter', width=8), bits), tokens()
    with torch.autocast('cpu', torch.bfloat16):
        output = module(x)
        added = FusedResidual(SAVED_TAPS['half'])(h.clone(), module, x)
    assert output.dtype == torch.bfloat16 and added.dtype == torch.float32
    assert torch.equal(added, h + output)
    expected = gradients(module, h + output, [])
    for actual, exact in zip(gradients(module, added, []), expected, strict=True):
        assert actual.dtype == torch.float32
        assert (actual - exact).norm() <= 0.02 * exact.norm()


def test_nothing_is_saved_if_nothing_trains() -> None:
    module, (h, x) = adapter(dict(type='DualLowRankAdapter')).requires_grad_(False), tokens()
    assert not FusedResidual(SAVED_TAPS['float'])(h, module, x).requires_grad
