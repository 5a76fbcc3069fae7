"""Weights against a Gaussian: moments, histogram, quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

QUANTILES = 199  # of a Q-Q plot, from 0.5 % to 99.5 %
EDGES = np.linspace(-4.0, 4.0, 65)  # of a histogram, in standard deviations


def standardized(weight: Tensor) -> Tensor:
    """All weights in one row, mean 0 and standard deviation 1, as float64 on the CPU.

    Raises:
        ValueError: They are all equal, or not finite.
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
    """Size, mean, standard deviation, skewness, excess kurtosis and straightness of the Q-Q plot.

    The straightness is the correlation of the quantiles with those of N(0, 1). A Gaussian has
    skewness 0, excess kurtosis 0 and straightness 1; a uniform distribution, from which most
    matrices start, has 0, -1.2 and 0.98. Moments are those of the sample, without a correction.

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
    """Quantiles of standardised weights at :func:`normal_quantiles`' shares."""
    return torch.from_numpy(np.quantile(z.numpy(), _shares())).tolist()


def normal_quantiles() -> list[float]:
    """Quantiles of N(0, 1) at the same shares."""
    return torch.special.ndtri(torch.from_numpy(_shares())).tolist()


def straightness(found: list[float]) -> float:
    """Correlation of quantiles with those of N(0, 1)."""
    return float(np.corrcoef(found, normal_quantiles())[0, 1])


def histogram(z: Tensor) -> list[float]:
    """Density of standardised weights between ``EDGES``; what lies outside is left out."""
    counts, _ = np.histogram(z.numpy(), EDGES)
    return (counts / (z.numel() * np.diff(EDGES))).tolist()


def _shares() -> np.ndarray:
    return (np.arange(QUANTILES) + 1) / (QUANTILES + 1)
