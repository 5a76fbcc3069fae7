"""Formats of saved taps: sizes, errors, ranges."""

from __future__ import annotations

import pytest
import torch

from mmqadapter.highway import SAVED_TAPS

FORMATS = pytest.mark.parametrize('name', SAVED_TAPS)
BYTES = {'float': 4 * 64, 'half': 2 * 64, 'int8': 64 + 4}


def round_trip(name: str, x: torch.Tensor) -> torch.Tensor:
    return SAVED_TAPS[name].decode(SAVED_TAPS[name].encode(x), x.dtype)


@FORMATS
def test_bytes_per_token(name: str) -> None:
    saved = SAVED_TAPS[name].encode(torch.randn(2, 10, 64))
    assert sum(t.nbytes for t in saved) == 20 * BYTES[name]


@pytest.mark.parametrize(('name', 'error'), [('float', 0), ('half', 0.002), ('int8', 0.009)])
def test_relative_error_of_normal_tokens(name: str, error: float) -> None:
    x = torch.randn(4, 100, 768) * torch.logspace(-4, 4, 100).view(100, 1)
    relative = (round_trip(name, x) - x).norm(dim=-1) / x.norm(dim=-1)
    assert relative.mean() <= error
    assert name == 'float' or relative.mean() > error / 2


@FORMATS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_shape_are_restored(name: str, dtype: torch.dtype) -> None:
    restored = round_trip(name, torch.randn(2, 3, 8, dtype=dtype))
    assert restored.dtype == dtype and restored.shape == (2, 3, 8)


@FORMATS
@pytest.mark.parametrize('value', [0.0, 1e-30, 1e6, -1e30])
def test_tokens_of_any_size(name: str, value: float) -> None:
    x = torch.full((1, 2, 8), value)
    torch.testing.assert_close(round_trip(name, x), x, rtol=5e-3, atol=0)


def test_int8_is_exact_to_half_a_step_of_each_token() -> None:
    x = torch.randn(3, 64)
    x[1] *= 1e5
    step = x.abs().amax(-1, keepdim=True) / 127
    assert ((round_trip('int8', x) - x).abs() <= 0.5001 * step).all()


def test_half_tokens_are_saved_as_they_are() -> None:
    x = torch.randn(2, 8).half()
    assert SAVED_TAPS['half'].encode(x)[0] is x
