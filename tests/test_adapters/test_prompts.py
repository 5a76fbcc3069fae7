"""Prompts: where they join the tokens, how they start, and their codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmqadapter.adapters import Prompts, ShallowPrompts, build_adapter
from mmqadapter.quant import gaussian_codebook, quantized_weights
from mmqadapter.quant.quantizer import EPSILON

KINDS = [Prompts, ShallowPrompts]


@pytest.mark.parametrize('kind', KINDS)
def test_trained_tokens_come_before_those_of_each_image(kind: type[Prompts]) -> None:
    adapter, tokens = kind(8, count=3), torch.randn(2, 5, 8)
    joined = adapter(None, tokens)
    assert torch.equal(joined[:, 3:], tokens)
    assert torch.equal(joined[0, :3], adapter.tokens.weight)
    assert torch.equal(joined[1, :3], adapter.tokens.weight)


def test_tokens_of_the_block_before_replace_the_trained_ones() -> None:
    prompts, tokens = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    assert torch.equal(Prompts(8, count=3)(prompts, tokens), torch.cat([prompts, tokens], 1))


def test_they_have_the_dtype_of_the_tokens() -> None:
    assert Prompts(8, count=3)(None, torch.zeros(2, 5, 8).half()).dtype == torch.half


def test_they_start_uniform_as_published() -> None:
    """Within sqrt(6 / (3 * 16 * 16 + C))."""
    bound, weight = (6 / 1024) ** 0.5, Prompts(256, count=100).tokens.weight
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_the_tokens_of_a_block_are_one_quantized_matrix(bits: int) -> None:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    adapter: Any = build_adapter(dict(type='Prompts', count=16), quantizer, channels=64)
    ((_, _, latent),) = quantized_weights(adapter)
    assert latent.shape == (16, 64)
    levels, std = gaussian_codebook(bits)[0].float(), latent.std()
    nearest = ((latent - latent.mean()) / (std + EPSILON))[..., None].sub(levels).abs().argmin(-1)
    expected = levels[nearest] * std + latent.mean()
    torch.testing.assert_close(adapter(None, torch.zeros(1, 1, 64))[0, :16], expected)


@pytest.mark.parametrize('count', [0, -1, 1.5, True, None])
def test_wrong_count(count: Any) -> None:
    with pytest.raises(ValueError, match=f'count={count!r} is invalid: expected 1 or more'):
        Prompts(8, count=count)


def test_they_have_no_scale() -> None:
    with pytest.raises(ValueError, match='has scale: expected arguments of Prompts: count'):
        build_adapter(dict(type='Prompts', count=3, scale=0.1), None, channels=8)
