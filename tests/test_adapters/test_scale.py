"""Scales: fixed, learned, and invalid values."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmqadapter.adapters.scale import FixedScale, LearnedScale, build_scale


def test_a_fixed_scale_multiplies_and_trains_nothing() -> None:
    scale, x = build_scale(0.1), torch.randn(3, 4)
    assert isinstance(scale, FixedScale) and not list(scale.parameters())
    assert torch.equal(scale(x), 0.1 * x)
    assert build_scale(1)(x) is x
    assert repr(scale) == 'FixedScale(0.1)'


def test_a_learned_scale_is_one_number_that_starts_at_1() -> None:
    scale, x = build_scale('learned'), torch.randn(3, 4)
    assert isinstance(scale, LearnedScale)
    assert [p.shape for p in scale.parameters()] == [()]
    assert torch.equal(scale(x), x)
    scale(x).sum().backward()
    assert scale.weight.grad == x.sum()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('kind', [0.1, 'learned'])
def test_the_dtype_of_the_tokens_is_preserved(kind: Any, dtype: torch.dtype) -> None:
    assert build_scale(kind)(torch.ones(2, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize('value', [0, 0.0, float('inf'), float('nan'), 'big', None, [1.0]])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match='is invalid: expected a finite number other than 0, or'):
        build_scale(value)
