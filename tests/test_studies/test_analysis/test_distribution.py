from __future__ import annotations

import numpy as np
import pytest
import torch

from mmqadapter.studies.analysis.distribution import (
    EDGES,
    histogram,
    moments,
    normal_quantiles,
    quantiles,
    standardized,
)


@pytest.mark.parametrize('draw', [torch.randn, torch.rand, lambda *s: torch.randn(*s).exp()])
def test_moments_are_those_of_scipy(draw) -> None:
    stats = pytest.importorskip('scipy.stats')
    weight = 0.3 * draw(40, 50) - 2
    result, flat = moments(weight), weight.double().numpy().ravel()
    assert result['count'] == 2000
    assert result['skewness'] == pytest.approx(stats.skew(flat), abs=1e-9)
    assert result['excess_kurtosis'] == pytest.approx(stats.kurtosis(flat), abs=1e-9)
    assert result['std'] == pytest.approx(np.std(flat))
    assert result['mean'] == pytest.approx(flat.mean())


def test_a_gaussian_is_straight_and_a_uniform_distribution_is_not() -> None:
    gaussian = moments(torch.randn(300, 300) * 5 + 1)
    assert abs(gaussian['skewness']) < 0.05 and abs(gaussian['excess_kurtosis']) < 0.1
    assert gaussian['straightness'] > 0.9995
    uniform = moments(torch.rand(300, 300))
    assert uniform['excess_kurtosis'] == pytest.approx(-1.2, abs=0.02)
    assert uniform['straightness'] == pytest.approx(0.982, abs=0.002)


def test_quantiles_and_histogram_of_a_gaussian() -> None:
    z = standardized(torch.randn(400, 400))
    assert quantiles(z) == pytest.approx(normal_quantiles(), abs=0.03)
    density, width = np.asarray(histogram(z)), np.diff(EDGES)
    assert (density * width).sum() == pytest.approx(1, abs=1e-3)
    assert density.max() == pytest.approx(0.399, abs=0.03)


@pytest.mark.parametrize('weight', [torch.ones(3, 4), torch.full((2, 2), torch.nan)])
def test_weights_without_a_spread_are_refused(weight: torch.Tensor) -> None:
    with pytest.raises(ValueError, match='have no spread'):
        moments(weight)
