"""Optimal scalar codebooks of a standard normal variable."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

BITS = (1, 2, 4, 8)
CRITERIA = ('l1', 'l2')
TOLERANCE = 1e-12
MAX_STEPS = 200
# Maps thresholds to the centers of the cells and to their derivatives by the cell edges.
_Centers = Callable[[Tensor], tuple[Tensor, Tensor]]


def check_bits(bits: int) -> None:
    """Check that there is a codebook for a bit width.

    Raises:
        ValueError: ``bits`` is not one of 1, 2, 4, 8.
    """
    if type(bits) is not int or bits not in BITS:
        raise ValueError(
            f'bits={bits!r} is invalid: expected one of 1, 2, 4, 8; use 32 for float adapters.'
        )


def gaussian_codebook(bits: int, criterion: str = 'l1') -> tuple[Tensor, Tensor]:
    """Return the levels and thresholds (float64) that minimize the mean error on N(0, 1).

    Levels are the medians (``l1``; arXiv 2307.16867, sec. 3.3) or the means (``l2``; Lloyd-Max) of
    their cells, thresholds the midpoints between levels. They are iterated until one more
    alternation would move no level by 1e-12. Newton's method needs a few steps for that; plain
    alternation needs about 120,000 for 8 bits.

    Args:
        bits: Width of a stored weight, in bits.
        criterion: ``'l1'`` or ``'l2'``.

    Returns:
        Levels (2**bits,) and thresholds (2**bits - 1,), both ascending and symmetric about zero.

    Raises:
        ValueError: Unknown ``bits`` or ``criterion``.
    """
    check_bits(bits)
    if criterion not in CRITERIA:
        raise ValueError(f'criterion={criterion!r} is invalid: expected one of {CRITERIA}.')
    centers = {'l1': _cell_medians, 'l2': _cell_means}[criterion]
    levels = _fixed_point(centers, 2**bits).clone()  # callers must not change the cached tensor
    return levels, _midpoints(levels)


@cache
def _fixed_point(centers: _Centers, count: int) -> Tensor:
    quantiles = (torch.arange(count, dtype=torch.float64, device='cpu') + 0.5) / count
    levels = torch.special.ndtri(quantiles)
    for _ in range(MAX_STEPS):
        target, slope = centers(_midpoints(levels))
        step = torch.linalg.solve(_jacobian(slope), target - levels)
        if (target - levels).abs().max() < TOLERANCE:
            return (levels - levels.flip(0)) / 2
        levels = (levels + step).sort().values
    raise AssertionError(f'the codebook of {count} levels did not converge')


def _midpoints(levels: Tensor) -> Tensor:
    return (levels[1:] + levels[:-1]) / 2


def _jacobian(slope: Tensor) -> Tensor:
    """Return d (levels - centers) / d levels (K, K); ``slope`` is d center / d edges (K, 2)."""
    half = slope / 2  # zero at the edges at infinity
    diagonal = torch.diag(1 - half.sum(1))
    return diagonal - torch.diag(half[1:, 0], -1) - torch.diag(half[:-1, 1], 1)


def _edges(thresholds: Tensor) -> Tensor:
    end = thresholds.new_full((1,), math.inf)
    return torch.cat([-end, thresholds, end])


def _density(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _cell_medians(thresholds: Tensor) -> tuple[Tensor, Tensor]:
    edges = _edges(thresholds)
    below = torch.special.ndtr(edges)
    medians = torch.special.ndtri((below[1:] + below[:-1]) / 2)
    density = _density(edges)
    slope = torch.stack([density[:-1], density[1:]], 1) / (2 * _density(medians)[:, None])
    return medians, slope


def _cell_means(thresholds: Tensor) -> tuple[Tensor, Tensor]:
    # Inner cells by quadrature: the closed form (difference of densities over difference of
    # distribution values) suffers from cancellation: noise of 1e-11 in the 8-bit levels.
    left, right = thresholds[:-1], thresholds[1:]
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(24))
    offsets = (right - left)[:, None] * (nodes + 1) / 2
    mass = _density(left[:, None] + offsets) * weights * (right - left)[:, None] / 2
    means = left + (mass * offsets).sum(1) / mass.sum(1)
    inner = torch.stack([_density(left) * (means - left), _density(right) * (right - means)], 1)
    inner = inner / mass.sum(1, keepdim=True)
    low, high = -_tail_mean(-thresholds[:1]), _tail_mean(thresholds[-1:])
    low_slope, high_slope = low * (low - thresholds[:1]), high * (high - thresholds[-1:])
    zero = torch.zeros_like(low)
    slopes = [torch.stack([zero, low_slope], 1), inner, torch.stack([high_slope, zero], 1)]
    return torch.cat([low, means, high]), torch.cat(slopes)


def _tail_mean(threshold: Tensor) -> Tensor:
    """Return the mean of N(0, 1) above ``threshold`` (the inverse Mills ratio)."""
    return math.sqrt(2 / math.pi) / torch.special.erfcx(threshold / math.sqrt(2))
