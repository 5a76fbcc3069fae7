"""Recompute: values and gradients of a plain call; only the input is saved for backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmqadapter.adapters import build_adapter
from mmqadapter.highway import SAVED_TAPS, Recompute
from mmqadapter.utils.accounting import saved_for_backward

FORMATS = pytest.mark.parametrize('name', SAVED_TAPS)
# Relative error of a gradient through GELU, for normal taps of 64 channels.
GRADIENT_ERROR = {'float': 1e-6, 'half': 5e-3, 'int8': 2e-2}


def adapter(kind: str = 'DualLowRankAdapter', bits: int = 32, **settings: Any) -> nn.Module:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    built = build_adapter(dict(type=kind, **settings), quantizer, channels=64)
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.2)
    return built


def gradients(module: nn.Module, output: Tensor, x: Tensor) -> dict[str, Tensor]:
    module.zero_grad()
    x.grad = None
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    grads = {name: p.grad.clone() for name, p in module.named_parameters()}
    return grads if x.grad is None else {**grads, 'x': x.grad.clone()}


@FORMATS
@pytest.mark.parametrize('bits', [1, 32])
@pytest.mark.parametrize('needs_input', [False, True])
def test_values_and_gradients_of_a_plain_call(name: str, bits: int, needs_input: bool) -> None:
    module, x = adapter(bits=bits), torch.randn(2, 50, 64, requires_grad=needs_input)
    plain = module(x)
    expected = gradients(module, plain, x)
    recomputed = Recompute(SAVED_TAPS[name])(module, x)
    assert torch.equal(recomputed, plain)
    actual = gradients(module, recomputed, x)
    assert actual.keys() == expected.keys()
    for key, gradient in actual.items():
        error = (gradient - expected[key]).norm() / expected[key].norm()
        assert error <= GRADIENT_ERROR[name], key


@FORMATS
def test_only_the_input_is_saved(name: str) -> None:
    module, x = adapter(), torch.randn(2, 50, 64)
    with saved_for_backward(module) as saved:
        output = Recompute(SAVED_TAPS[name])(module, x)
    assert output.requires_grad
    assert saved.total == 100 * {'float': 4 * 64, 'half': 2 * 64, 'int8': 64 + 4}[name]


@FORMATS
def test_nothing_is_saved_without_gradients(name: str) -> None:
    module, x = adapter(), torch.randn(2, 5, 64)
    with torch.no_grad(), saved_for_backward(module) as saved:
        output = Recompute(SAVED_TAPS[name])(module, x)
    assert saved.total == 0 and not output.requires_grad
    assert not Recompute(SAVED_TAPS[name])(module.requires_grad_(False), x).requires_grad


def test_dropout_draws_the_same_numbers_again() -> None:
    module = adapter('AdaptFormer', width=8, dropout=0.5).train()
    x = torch.randn(2, 50, 64)
    torch.manual_seed(1)
    plain = module(x)
    expected = gradients(module, plain, x)
    torch.manual_seed(1)
    recomputed = Recompute(SAVED_TAPS['float'])(module, x)
    torch.manual_seed(2)
    after = torch.rand(3)
    torch.manual_seed(2)
    actual = gradients(module, recomputed, x)
    assert torch.equal(torch.rand(3), after)
    assert torch.equal(recomputed, plain)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('backward_inside', [False, True])
def test_autocast_is_restored(dtype: torch.dtype, backward_inside: bool) -> None:
    module, x = adapter(), torch.randn(2, 50, 64)
    results = []
    for call in (nn.Module.__call__, Recompute(SAVED_TAPS['float'])):
        with torch.autocast('cpu', dtype):
            output = call(module, x)
            assert output.dtype == dtype
            if backward_inside:
                results.append(gradients(module, output, x))
        if not backward_inside:
            results.append(gradients(module, output, x))
    torch.testing.assert_close(results[1], results[0])


def test_two_calls_of_one_module_add_up() -> None:
    module, (x, y) = adapter(), torch.randn(2, 2, 50, 64)
    call = Recompute(SAVED_TAPS['float'])
    expected = gradients(module, module(x) + module(y), x)
    torch.testing.assert_close(gradients(module, call(module, x) + call(module, y), x), expected)


def test_more_arguments_reach_the_module() -> None:
    class RowMeans(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
            return x.unflatten(1, grid).mean(2) * self.weight

    module, x = RowMeans(), torch.randn(2, 6, 4)
    output = Recompute(SAVED_TAPS['float'])(module, x, (2, 3))
    assert torch.equal(output, x.unflatten(1, (2, 3)).mean(2))
    output.sum().backward()
    torch.testing.assert_close(module.weight.grad, output.detach().sum())


def test_frozen_parameters_get_no_gradient() -> None:
    module, x = adapter(), torch.randn(2, 5, 64)
    module.down.requires_grad_(False)
    Recompute(SAVED_TAPS['int8'])(module, x).square().sum().backward()
    assert all((p.grad is None) == n.startswith('down') for n, p in module.named_parameters())


def test_gradients_of_gradients_are_refused() -> None:
    module, x = adapter(), torch.randn(2, 5, 64, requires_grad=True)
    loss = Recompute(SAVED_TAPS['float'])(module, x).square().sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()
