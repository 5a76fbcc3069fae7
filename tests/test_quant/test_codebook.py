"""Codebooks: published tables, errors on N(0, 1), convergence by an independent step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import ndtr

from mmqadapter.quant import BITS, CRITERIA, gaussian_codebook

ALL = pytest.mark.parametrize('bits', BITS)
BOTH = pytest.mark.parametrize('criterion', CRITERIA)

# Non-negative halves. l1: the published quantizer (arXiv 2307.16867); l2: the table of Max (1960),
# whose last printed digit is off by up to one.
LEVELS = {
    (1, 'l1'): [0.6745],
    (2, 'l1'): [0.3778, 1.2657],
    (4, 'l1'): [0.1056, 0.3190, 0.5401, 0.7752, 1.0340, 1.3331, 1.7077, 2.2655],
    (1, 'l2'): [0.7979],
    (2, 'l2'): [0.4528, 1.5104],
    (4, 'l2'): [0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733],
}
THRESHOLDS = {
    (1, 'l1'): [0],
    (2, 'l1'): [0, 0.8217],
    (4, 'l1'): [0, 0.2123, 0.4296, 0.6576, 0.9046, 1.1836, 1.5204, 1.9866],
    (2, 'l2'): [0, 0.9816],
    (4, 'l2'): [0, 0.2582, 0.5224, 0.7996, 1.099, 1.437, 1.844, 2.401],
}
ATOL = {'l1': 5.1e-5, 'l2': 6e-4}
# (bits, criterion, power of the error): mean over N(0, 1), and half a unit of its last digit.
ERRORS = {
    (1, 'l1', 1): (0.4732, 5e-5),
    (1, 'l1', 2): (0.3786, 5e-5),
    (2, 'l1', 1): (0.2658, 5e-5),
    (2, 'l1', 2): (0.1290, 5e-5),
    (4, 'l1', 1): (0.0745, 5e-5),
    (4, 'l1', 2): (0.0118, 5e-5),
    (8, 'l1', 1): (0.00488, 5e-6),
    (8, 'l1', 2): (6.4e-5, 5e-7),
    (1, 'l2', 1): (0.4826, 5e-5),
    (1, 'l2', 2): (0.3634, 5e-5),
    (2, 'l2', 2): (0.1175, 5e-5),
    (4, 'l2', 2): (0.0095, 5e-6),
}


def density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def cells(bits: int, criterion: str) -> list[tuple[float, float, float]]:
    """(left edge, level, right edge) of each cell at or below zero; the others mirror them."""
    levels, thresholds = (x.tolist() for x in gaussian_codebook(bits, criterion))
    edges = [-math.inf, *thresholds]
    return list(zip(edges, levels, thresholds, strict=False))[: 2 ** (bits - 1)]


def moment(left: float, right: float, center: float, power: int) -> float:
    """Integral of |x - center|**power over a cell of N(0, 1), to 13 digits."""
    edges = [left, center, right] if left < center < right else [left, right]
    return sum(
        quad(lambda x: abs(x - center) ** power * density(x), a, b, epsabs=0, epsrel=1e-13)[0]
        for a, b in zip(edges, edges[1:], strict=False)
    )


@pytest.mark.parametrize(('bits', 'criterion'), LEVELS)
def test_levels_are_the_published_ones(bits: int, criterion: str) -> None:
    levels, _ = gaussian_codebook(bits, criterion)
    expected = LEVELS[bits, criterion]
    np.testing.assert_allclose(levels[2 ** (bits - 1) :], expected, rtol=0, atol=ATOL[criterion])


@pytest.mark.parametrize(('bits', 'criterion'), THRESHOLDS)
def test_thresholds_are_the_published_ones(bits: int, criterion: str) -> None:
    _, thresholds = gaussian_codebook(bits, criterion)
    expected = THRESHOLDS[bits, criterion]
    half = thresholds[2 ** (bits - 1) - 1 :]
    np.testing.assert_allclose(half, expected, rtol=0, atol=ATOL[criterion])


def test_extremes_of_the_converged_codebook_of_8_bits() -> None:
    levels, thresholds = gaussian_codebook(8, 'l1')
    assert levels[-1].item() == pytest.approx(3.7854, abs=5e-5)
    assert thresholds[-1].item() == pytest.approx(3.6094, abs=5e-5)


@pytest.mark.parametrize(('bits', 'criterion', 'power'), ERRORS)
def test_mean_errors_by_integration(bits: int, criterion: str, power: int) -> None:
    half = sum(moment(a, b, level, power) for a, level, b in cells(bits, criterion))
    expected, unit = ERRORS[bits, criterion, power]
    assert 2 * half == pytest.approx(expected, abs=unit)


@ALL
def test_another_step_of_the_l1_iteration_moves_nothing(bits: int) -> None:
    for left, level, right in cells(bits, 'l1'):
        median = (ndtr(left) + ndtr(right)) / 2
        assert abs(median - ndtr(level)) / density(level) < 1e-12


@ALL
def test_another_step_of_the_l2_iteration_moves_nothing(bits: int) -> None:
    for left, level, right in cells(bits, 'l2'):
        # Offsets from the right edge, so that nothing cancels.
        mean = right - moment(left, right, right, 1) / moment(left, right, right, 0)
        assert abs(mean - level) < 1e-12


@ALL
@BOTH
def test_shape_order_and_symmetry(bits: int, criterion: str) -> None:
    levels, thresholds = gaussian_codebook(bits, criterion)
    assert levels.dtype == thresholds.dtype == torch.float64
    assert (levels.shape, thresholds.shape) == ((2**bits,), (2**bits - 1,))
    assert bool((levels.diff() > 0).all())
    assert torch.equal(levels, -levels.flip(0))
    torch.testing.assert_close(thresholds, (levels[1:] + levels[:-1]) / 2, rtol=0, atol=1e-15)


def test_l1_is_the_default() -> None:
    assert torch.equal(gaussian_codebook(2)[0], gaussian_codebook(2, 'l1')[0])


def test_a_caller_cannot_change_the_cached_codebook() -> None:
    gaussian_codebook(1)[0].mul_(2)
    assert gaussian_codebook(1)[0][1].item() == pytest.approx(0.6745, abs=5e-5)


@pytest.mark.parametrize('bits', [0, 3, 16, 32, '1'])
def test_unknown_bits_are_refused(bits: int) -> None:
    with pytest.raises(
        ValueError, match=f'bits={bits!r} is invalid: expected one of 1, 2, 4, 8; use'
    ):
        gaussian_codebook(bits)


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(ValueError, match="criterion='l3' is invalid: expected one of .*'l1', 'l2'"):
        gaussian_codebook(1, 'l3')
