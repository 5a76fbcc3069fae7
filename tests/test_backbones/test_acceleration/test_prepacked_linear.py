"""PackedLinear: what the stock layer gives, and that itself where a packed weight will not do."""

from __future__ import annotations

import logging
import pickle
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.backbones.acceleration import PrepackedLinear, packed_linear, prepack_weights

if not packed_linear.packs():
    pytest.skip('this PyTorch comes without oneDNN', allow_module_level=True)


def frozen(**kwargs: bool) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(48, 24, **kwargs).requires_grad_(False)


def packed(layer: nn.Linear) -> nn.Linear:
    copy = deepcopy(layer)
    prepack_weights(copy)
    return copy


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each product with a packed weight."""
    rows: list[int] = []
    multiply = packed_linear._multiply

    def count(x: Tensor, *rest: Any) -> Tensor:
        rows.append(len(x))
        return multiply(x, *rest)

    monkeypatch.setattr(packed_linear, '_multiply', count)
    return rows


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('shape', [(5, 48), (1, 48), (0, 48), (2, 7, 48), (2, 3, 4, 48)], ids=str)
def test_equals_the_stock_layer(shape: tuple[int, ...], bias: bool, counted: list[int]) -> None:
    layer, x = frozen(bias=bias), torch.randn(shape)
    torch.testing.assert_close(packed(layer)(x), layer(x))
    assert counted == [shape[0]]


def test_more_tokens_than_it_was_packed_for() -> None:
    layer, x = frozen(), torch.randn(2500, 48)
    torch.testing.assert_close(packed(layer)(x), layer(x))


def test_tokens_that_do_not_lie_side_by_side() -> None:
    layer, x = frozen(), torch.randn(2, 48, 10).transpose(1, 2)
    torch.testing.assert_close(packed(layer)(x), layer(x))


def test_gradient_of_the_input_and_that_of_it(counted: list[int]) -> None:
    layer, x, found = frozen(), torch.randn(2, 5, 48, requires_grad=True), []
    for net in (packed(layer), layer):
        (of_x,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
        found.append((of_x, *torch.autograd.grad(of_x.square().sum(), x)))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)
    assert counted == [2]


def test_backward_keeps_the_weight_alone() -> None:
    kept: list[Tensor] = []
    net = packed(frozen())
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        net(torch.randn(5, 48, requires_grad=True))
    assert [t.data_ptr() for t in kept] == [net.weight.data_ptr()]


def test_half_precision_and_autocast(counted: list[int]) -> None:
    layer, x = frozen().bfloat16(), torch.randn(5, 48)
    net = packed(layer)
    torch.testing.assert_close(net(x.bfloat16()), layer(x.bfloat16()))
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(net(x), layer(x))
    assert counted == [5, 5]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16])
def test_other_dtypes_take_the_stock_layer(dtype: torch.dtype, counted: list[int]) -> None:
    layer, x = frozen().to(dtype), torch.randn(5, 48, dtype=dtype)
    assert torch.equal(packed(layer)(x), layer(x)) and not counted


def test_autocast_of_another_dtype_takes_the_stock_layer(counted: list[int]) -> None:
    layer, x = frozen(), torch.randn(5, 48)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(packed(layer)(x), layer(x)) and not counted


def test_other_devices_take_the_stock_layer(counted: list[int]) -> None:
    net = packed(frozen())
    assert net.to('meta')(torch.empty(5, 48, device='meta')).shape == (5, 24) and not counted


def test_loaded_merged_and_moved_weights_are_packed_anew() -> None:
    net, other, x = packed(frozen()), nn.Linear(48, 24).requires_grad_(False), torch.randn(5, 48)
    net(x)
    net.load_state_dict(other.state_dict())
    torch.testing.assert_close(net(x), other(x))
    with torch.no_grad():
        net.weight += 1
        other.weight += 1
    torch.testing.assert_close(net(x), other(x))
    net.to('meta').to_empty(device='cpu').load_state_dict(other.state_dict())
    torch.testing.assert_close(net(x), other(x))


def test_copies_have_weights_of_their_own() -> None:
    net, x = packed(frozen()), torch.randn(5, 48)
    expected = net(x)
    copy = deepcopy(net)
    with torch.no_grad():
        copy.weight.zero_()
    torch.testing.assert_close(copy(x), copy.bias.expand(5, -1))
    torch.testing.assert_close(net(x), expected)


def test_what_is_packed_is_neither_saved_nor_counted() -> None:
    net = packed(frozen())
    net(torch.randn(5, 48))
    assert net.state_dict().keys() == {'weight', 'bias'}
    assert 'MKLDNN' not in str(pickle.dumps(net._cache))


def test_a_layer_that_trains_is_left_alone() -> None:
    layer = frozen()
    layer.bias.requires_grad_(True)
    assert not isinstance(packed(layer), PrepackedLinear)


def test_a_layer_that_comes_to_train_has_its_gradients(counted: list[int]) -> None:
    net, x = packed(frozen()).requires_grad_(True), torch.randn(5, 48)
    net(x).sum().backward()
    torch.testing.assert_close(net.weight.grad, x.sum(0).expand(24, -1))
    assert not counted
    with torch.no_grad():
        torch.testing.assert_close(net(x), F.linear(x, net.weight, net.bias))
    assert counted == [5]


def test_graphs_for_elsewhere_are_those_of_the_stock_layer() -> None:
    net, x = packed(frozen()), torch.randn(5, 48)
    exported = str(torch.export.export(net, (x,)).graph)
    traced = str(torch.jit.trace(net, x).graph)
    assert 'linear' in exported and 'mkldnn' not in exported
    assert 'linear' in traced and 'mkldnn' not in traced


def test_hooks_see_the_layer() -> None:
    net, seen = packed(frozen()), []
    net.register_forward_hook(lambda module, args, output: seen.append(output))
    assert net(torch.randn(5, 48)) is seen[0]


def test_without_onednn_a_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, Any]] = []
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    monkeypatch.setattr(
        packed_linear, 'print_log', lambda text, **kwargs: told.append((text, kwargs['level']))
    )
    layer = packed(frozen())
    assert type(layer) is nn.Linear
    assert told == [(told[0][0], logging.WARNING)] and 'without oneDNN' in told[0][0]
