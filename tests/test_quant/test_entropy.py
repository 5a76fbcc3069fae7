"""Entropy of codes, against known distributions."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import entropy, norm

from mmqadapter.quant import BITS, GaussianQuantizer, code_entropy, gaussian_codebook


@pytest.mark.parametrize('bits', BITS)
def test_equally_frequent_codes_carry_all_their_bits(bits: int) -> None:
    codes = torch.arange(2**bits, dtype=torch.uint8).repeat(3)
    assert code_entropy(codes) == pytest.approx(bits)


def test_a_code_that_occurs_once_counts() -> None:
    shares = [1 / 8, 2 / 8, 5 / 8]
    codes = torch.tensor([3, 0, 0, 2, 2, 2, 2, 2], dtype=torch.uint8)
    assert code_entropy(codes) == pytest.approx(entropy(shares, base=2))


def test_equal_codes_and_no_codes_carry_nothing() -> None:
    assert code_entropy(torch.full((50,), 2, dtype=torch.uint8)) == 0
    assert code_entropy(torch.empty(0, dtype=torch.uint8)) == 0


@pytest.mark.parametrize('bits', BITS)
def test_normal_weights(bits: int) -> None:
    _, thresholds = gaussian_codebook(bits)
    shares = norm.cdf([*thresholds, float('inf')]) - norm.cdf([float('-inf'), *thresholds])
    codes = GaussianQuantizer(bits).encode(torch.randn(400, 500)).codes
    assert code_entropy(codes) == pytest.approx(entropy(shares, base=2), abs=5e-3)
