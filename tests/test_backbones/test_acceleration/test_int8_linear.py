"""Int8Linear: values as from torchao; codes that load, move and copy as plain tensors."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmqadapter.backbones.acceleration.int8_linear import Int8Linear, decode_int8, store_int8

quantization = pytest.importorskip(
    'torchao.quantization', reason='torchao is not installed; run `make env`'
)


def frozen(**kwargs: bool) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(48, 24, **kwargs).requires_grad_(False)


def int8(layer: nn.Linear) -> nn.Linear:
    copy = deepcopy(layer)
    store_int8(copy)
    return copy


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(2, 5, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_equals_torchao(tokens: Tensor, bias: bool, dtype: torch.dtype) -> None:
    layer, library = frozen(bias=bias), nn.Sequential(frozen(bias=bias)).to(dtype)
    library[0].weight.data = layer.weight.data
    quantization.quantize_(library, quantization.Int8WeightOnlyConfig(set_inductor_config=False))
    # The last bit may differ where the bias is added to a rounded product.
    close = dict(rtol=1e-2, atol=1e-2) if dtype == torch.bfloat16 else {}
    tokens = tokens.to(dtype)
    torch.testing.assert_close(int8(layer)(tokens), library(tokens), **close)


def test_error_is_half_a_step(tokens: Tensor) -> None:
    layer = frozen()
    stored = int8(layer)
    weight = decode_int8({'a.weight': stored.weight, 'a.weight_scale': stored.weight_scale})[
        'a.weight'
    ]
    step = layer.weight.abs().amax(1, keepdim=True) / 127
    assert 0 < (weight - layer.weight).abs().max() <= 0.51 * step.max()
    assert ((weight - layer.weight).abs() <= 0.51 * step).all()
    torch.testing.assert_close(stored(tokens), nn.functional.linear(tokens, weight, layer.bias))


def test_gradient_is_that_of_the_decoded_weight(tokens: Tensor) -> None:
    stored = int8(frozen())
    weight = decode_int8({'a.weight': stored.weight, 'a.weight_scale': stored.weight_scale})[
        'a.weight'
    ]
    a, b = tokens.clone().requires_grad_(), tokens.clone().requires_grad_()
    stored(a).square().sum().backward()
    nn.functional.linear(b, weight, stored.bias).square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad)


def test_only_codes_and_scales_are_saved_for_backward(tokens: Tensor) -> None:
    saved: list[Tensor] = []
    stored = int8(frozen())
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        stored(tokens.requires_grad_())
    assert {t.data_ptr() for t in saved} == {
        stored.weight.data_ptr(),
        stored.weight_scale.data_ptr(),
    }


def test_is_a_linear_layer_of_a_quarter_of_the_bytes() -> None:
    layer = int8(frozen())
    assert isinstance(layer, nn.Linear)
    assert isinstance(layer, Int8Linear)
    assert layer.weight.dtype == torch.int8
    assert layer.weight.nbytes == 48 * 24
    # mmengine takes the mean of every parameter, which integers do not have.
    assert dict(layer.named_parameters()).keys() == {'bias'}
    assert layer.state_dict().keys() == {'weight', 'weight_scale', 'bias'}
    assert layer.weight_scale.shape == (24, 1)


def test_under_autocast(tokens: Tensor) -> None:
    layer = int8(frozen())
    with torch.autocast('cpu', torch.bfloat16):
        output = layer(tokens)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), layer(tokens), rtol=2e-2, atol=2e-2)


def test_float_weights_are_encoded_as_they_load(tokens: Tensor) -> None:
    layer, source = int8(frozen()), frozen()
    nn.init.normal_(source.weight)
    layer.load_state_dict(source.state_dict())
    assert torch.equal(layer(tokens), int8(source)(tokens))


def test_codes_load_as_they_are(tokens: Tensor, tmp_path: Path) -> None:
    """Codes load bit for bit, from a file that is read without running code."""
    layer, source = int8(frozen()), frozen()
    nn.init.normal_(source.weight)
    torch.save(int8(source).state_dict(), tmp_path / 'layer.pth')
    layer.load_state_dict(torch.load(tmp_path / 'layer.pth', weights_only=True))
    assert torch.equal(layer(tokens), int8(source)(tokens))


def test_casts_leave_the_codes(tokens: Tensor) -> None:
    layer = int8(frozen())
    cast = deepcopy(layer).to(torch.bfloat16)
    assert torch.equal(cast.weight, layer.weight)
    assert cast(tokens.bfloat16()).dtype == torch.bfloat16


def test_decoded_leaves_other_tensors() -> None:
    state = {
        'norm.weight': torch.ones(2),
        'other.weight': torch.ones(2, 2),
        'other.weight_scale': torch.ones(2, 1),
        'alone.weight_scale': torch.ones(2, 1),
    }
    assert decode_int8(state) == state


def test_without_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'torchao.quantization', None)
    with pytest.raises(
        ValueError, match=r"^trunk\.dtype='int8' is invalid here: expected torchao .*pip install"
    ):
        store_int8(frozen())
