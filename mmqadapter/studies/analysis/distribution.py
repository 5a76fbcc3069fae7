"""Comparison of weights with a Gaussian: moments, histogram, quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

QUANTILES = 199  # of a Q-Q plot, from 0.5 % to 99.5 %
EDGES = np.linspace(-4.0, 4.0, 65)  # of the histogram's bins, in standard deviations


def standardized(weight: Tensor) -> Tensor:
    """Return all weights in one row with mean 0 and standard deviation 1, float64 on the CPU.

    Raises:
        ValueError: The weights are all equal, or not finite.
    """
    flat = weight.detach().double().cpu().flatten()
    std, mean = torch.std_mean(flat, correction=0)
    if not (bool(std.isfinite()) and std > 0):
        raise ValueError(
            f'weights of shape {tuple(weight.shape)} have no spread (standard deviation {std:.3g}):'
            ' were they trained?'
        )
    return (flat - mean) / std


def moments(weight: Tensor) -> dict[str, Any]:
    """Return count, mean, std, skewness, excess kurtosis and straightness of the Q-Q plot.

    The straightness is the correlation of the quantiles with those of N(0, 1). A Gaussian has
    skewness 0, excess kurtosis 0 and straightness 1; a uniform distribution, with which most
    matrices are initialized, has 0, -1.2 and 0.98. Moments are those of the sample, without bias
    correction.

    Raises:
        ValueError: See :func:`standardized`.
    """
    z = standardized(weight)
    return {
        'count': weight.numel(),
        'mean': float(weight.double().mean()),
        'std': float(weight.double().std(correction=0)),
        'skewness': float(z.pow(3).mean()),
        'excess_kurtosis': float(z.pow(4).mean() - 3),
        'straightness': straightness(quantiles(z)),
    }


def quantiles(z: Tensor) -> list[float]:
    """Return quantiles of standardized weights, at the probabilities of the Q-Q plot."""
    return torch.from_numpy(np.quantile(z.numpy(), _probabilities())).tolist()


def normal_quantiles() -> list[float]:
    """Return quantiles of N(0, 1), at the probabilities of the Q-Q plot."""
    return torch.special.ndtri(torch.from_numpy(_probabilities())).tolist()


def straightness(sample: list[float]) -> float:
    """Return the correlation of the quantiles of a sample with those of N(0, 1)."""
    return float(np.corrcoef(sample, normal_quantiles())[0, 1])


def histogram(z: Tensor) -> list[float]:
    """Return the density of standardized weights in the bins of ``EDGES``.

    Weights outside the bins count in the total, so that the bins may sum up to less than 1.
    """
    counts, _ = np.histogram(z.numpy(), EDGES)
    return (counts / (z.numel() * np.diff(EDGES))).tolist()


def _probabilities() -> np.ndarray:
    return (np.arange(QUANTILES) + 1) / (QUANTILES + 1)
