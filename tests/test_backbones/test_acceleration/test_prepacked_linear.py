"""PrepackedLinear: equals the stock layer; cases in which the stock forward runs."""

from __future__ import annotations

import logging
import pickle
from copy import deepcopy
from typing import Any

import pytest
import torch
from old_torch import needs_torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.backbones.acceleration import prepacked_linear
from mmqadapter.backbones.acceleration.prepacked_linear import PrepackedLinear, prepack_weights

if not prepacked_linear.can_prepack():
    pytest.skip('this PyTorch has no oneDNN', allow_module_level=True)


def frozen(**kwargs: bool) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(48, 24, **kwargs).requires_grad_(False)


def prepacked(layer: nn.Linear) -> nn.Linear:
    copy = deepcopy(layer)
    prepack_weights(copy)
    return copy


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of rows of each product with a prepacked weight."""
    rows: list[int] = []
    multiply = prepacked_linear._multiply

    def count(x: Tensor, *rest: Any) -> Tensor:
        rows.append(len(x))
        return multiply(x, *rest)

    monkeypatch.setattr(prepacked_linear, '_multiply', count)
    return rows


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('shape', [(5, 48), (1, 48), (0, 48), (2, 7, 48), (2, 3, 4, 48)], ids=str)
def test_equals_the_stock_layer(shape: tuple[int, ...], bias: bool, counted: list[int]) -> None:
    layer, x = frozen(bias=bias), torch.randn(shape)
    torch.testing.assert_close(prepacked(layer)(x), layer(x))
    assert counted == [shape[0]]


def test_more_tokens_than_the_weight_was_prepacked_for() -> None:
    layer, x = frozen(), torch.randn(2500, 48)
    torch.testing.assert_close(prepacked(layer)(x), layer(x))


def test_tokens_that_are_not_contiguous() -> None:
    layer, x = frozen(), torch.randn(2, 48, 10).transpose(1, 2)
    torch.testing.assert_close(prepacked(layer)(x), layer(x))


def test_first_and_second_gradient_of_the_input(counted: list[int]) -> None:
    layer, x, results = frozen(), torch.randn(2, 5, 48, requires_grad=True), []
    for net in (prepacked(layer), layer):
        (grad,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
        results.append((grad, *torch.autograd.grad(grad.square().sum(), x)))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    assert counted == [2]


def test_only_the_weight_is_saved_for_backward() -> None:
    saved: list[Tensor] = []
    net = prepacked(frozen())
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        net(torch.randn(5, 48, requires_grad=True))
    assert [t.data_ptr() for t in saved] == [net.weight.data_ptr()]


def test_half_precision_and_autocast(counted: list[int]) -> None:
    layer, x = frozen().bfloat16(), torch.randn(5, 48)
    net = prepacked(layer)
    torch.testing.assert_close(net(x.bfloat16()), layer(x.bfloat16()))
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(net(x), layer(x))
    assert counted == [5, 5]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16])
def test_other_dtypes_take_the_stock_layer(dtype: torch.dtype, counted: list[int]) -> None:
    layer, x = frozen().to(dtype), torch.randn(5, 48, dtype=dtype)
    assert torch.equal(prepacked(layer)(x), layer(x)) and not counted


def test_autocast_of_another_dtype_takes_the_stock_layer(counted: list[int]) -> None:
    layer, x = frozen(), torch.randn(5, 48)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(prepacked(layer)(x), layer(x)) and not counted


def test_other_devices_take_the_stock_layer(counted: list[int]) -> None:
    net = prepacked(frozen())
    assert net.to('meta')(torch.empty(5, 48, device='meta')).shape == (5, 24) and not counted


def test_loaded_changed_and_moved_weights_are_prepacked_again() -> None:
    net, stock, x = prepacked(frozen()), nn.Linear(48, 24).requires_grad_(False), torch.randn(5, 48)
    net(x)
    net.load_state_dict(stock.state_dict())
    torch.testing.assert_close(net(x), stock(x))
    with torch.no_grad():
        net.weight += 1
        stock.weight += 1
    torch.testing.assert_close(net(x), stock(x))
    net.to('meta').to_empty(device='cpu').load_state_dict(stock.state_dict())
    torch.testing.assert_close(net(x), stock(x))


def test_copies_have_weights_of_their_own() -> None:
    net, x = prepacked(frozen()), torch.randn(5, 48)
    expected = net(x)
    copy = deepcopy(net)
    with torch.no_grad():
        copy.weight.zero_()
    torch.testing.assert_close(copy(x), copy.bias.expand(5, -1))
    torch.testing.assert_close(net(x), expected)


def test_prepacked_weights_are_not_saved() -> None:
    net = prepacked(frozen())
    net(torch.randn(5, 48))
    assert net.state_dict().keys() == {'weight', 'bias'}
    assert 'MKLDNN' not in str(pickle.dumps(net._cache))


def test_a_layer_that_trains_is_not_changed() -> None:
    layer = frozen()
    layer.bias.requires_grad_(True)
    assert not isinstance(prepacked(layer), PrepackedLinear)


def test_a_layer_that_is_made_to_train_gets_gradients(counted: list[int]) -> None:
    net, x = prepacked(frozen()).requires_grad_(True), torch.randn(5, 48)
    net(x).sum().backward()
    torch.testing.assert_close(net.weight.grad, x.sum(0).expand(24, -1))
    assert not counted
    with torch.no_grad():
        torch.testing.assert_close(net(x), F.linear(x, net.weight, net.bias))
    assert counted == [5]


@needs_torch(2, 4, 'a graph that keeps linear layers whole')
def test_exported_graphs_are_those_of_the_stock_layer() -> None:
    net, x = prepacked(frozen()), torch.randn(5, 48)
    exported = str(torch.export.export(net, (x,)).graph)
    traced = str(torch.jit.trace(net, x).graph)
    assert 'linear' in exported and 'mkldnn' not in exported
    assert 'linear' in traced and 'mkldnn' not in traced


def test_hooks_run() -> None:
    net, seen = prepacked(frozen()), []
    net.register_forward_hook(lambda module, args, output: seen.append(output))
    assert net(torch.randn(5, 48)) is seen[0]


def test_without_onednn_a_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, Any]] = []
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    monkeypatch.setattr(
        prepacked_linear, 'print_log', lambda text, **kwargs: told.append((text, kwargs['level']))
    )
    layer = prepacked(frozen())
    assert type(layer) is nn.Linear
    assert told == [(told[0][0], logging.WARNING)] and 'has no oneDNN' in told[0][0]
