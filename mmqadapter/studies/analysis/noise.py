"""Gaussian noise on weights, in deviations of each matrix (arXiv 2307.16867, flat minima)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from mmqadapter.studies.analysis.directions import gaussian
from mmqadapter.studies.analysis.perturbation import Perturbation, Values


def check_sigmas(sigmas: Sequence[float]) -> None:
    """Refuse noise of no size.

    Raises:
        ValueError: None at all, a negative size, or one that is not finite.
    """
    if not sigmas:
        raise ValueError('sigmas are missing; give some, such as 0,0.1,0.2,0.5,1.')
    for sigma in sigmas:
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ValueError(f'sigma={sigma:g} is no size of noise; use finite numbers from 0.')


def noise(weights: Values, *key: int) -> dict[str, Tensor]:
    """N(0, 1) times the standard deviation of each matrix; the same key gives the same noise."""
    drawn = gaussian(weights, *key)
    return {name: draw * weights[name].std(correction=0) for name, draw in drawn.items()}


def scores_under_noise(
    score: Callable[[], float],
    weights: Perturbation,
    sigmas: Sequence[float],
    repeats: int,
    seed: int,
) -> Iterator[tuple[float, float]]:
    """Yield (sigma, score), each sigma ``repeats`` times.

    A repeat draws once: from sigma to sigma its noise grows and keeps its direction.

    Args:
        score: Of the weights as they are.
        weights: What the noise is put on; they are back after each score.
        sigmas: Sizes of the noise, in standard deviations of each matrix.
        repeats: How often noise is drawn.
        seed: Of the noise.
    """
    for sigma in sigmas:
        for repeat in range(repeats):
            with weights.along((sigma, noise(weights.start, seed, repeat))):
                value = score()
            yield sigma, value
