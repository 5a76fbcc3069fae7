"""Rounding to float16: values, gradient, range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmqadapter.quant import HalfRounding, parametrize_weight, round_to_half


def test_values_are_those_of_float16() -> None:
    values = torch.randn(1000) * torch.logspace(-9, 4, 1000)
    expected = values.numpy().astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(round_to_half(values).numpy(), expected)


@pytest.mark.parametrize('value', [7e4, float('inf'), float('nan')])
def test_a_tensor_beyond_the_range_stays_as_it_is(value: float) -> None:
    values = torch.tensor([0.1, value])
    assert torch.equal(round_to_half(values).nan_to_num(), values.nan_to_num())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    assert round_to_half(torch.ones(2, dtype=dtype)).dtype == dtype


def test_small_steps_add_up() -> None:
    layer = nn.LayerNorm(1)
    parametrize_weight(layer, 'weight', HalfRounding())
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-4)
    seen = set()
    for _ in range(20):
        seen.add(layer.weight.item())
        optimizer.zero_grad()
        layer.weight.sum().backward()
        optimizer.step()
    assert len(seen) > 1 and all(value == np.float16(value) for value in seen)
    latent = layer.state_dict()['weight'].item()
    assert latent == pytest.approx(1 - 20e-4, rel=1e-5)
