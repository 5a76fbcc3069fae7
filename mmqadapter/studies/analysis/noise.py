"""Gaussian noise on weights, relative to the deviation of each matrix (arXiv 2307.16867)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from mmqadapter.studies.analysis.directions import gaussian
from mmqadapter.studies.analysis.perturbation import Perturbation, Values


def check_sigmas(sigmas: Sequence[float]) -> None:
    """Check the sizes of noise.

    Raises:
        ValueError: There is none, or one is negative or not finite.
    """
    if not sigmas:
        raise ValueError('sigmas=[] is invalid: expected one or more, such as 0,0.1,0.2,0.5,1.')
    for sigma in sigmas:
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ValueError(f'sigma={sigma:g} is invalid: expected a finite number of 0 or more.')


def noise(weights: Values, *key: int) -> dict[str, Tensor]:
    """Return N(0, 1) samples times the standard deviation of each matrix, seeded by ``key``."""
    samples = gaussian(weights, *key)
    return {name: sample * weights[name].std(correction=0) for name, sample in samples.items()}


def scores_under_noise(
    score: Callable[[], float],
    weights: Perturbation,
    sigmas: Sequence[float],
    repeats: int,
    seed: int,
) -> Iterator[tuple[float, float]]:
    """Yield (sigma, score), ``repeats`` times for each sigma.

    Each repeat uses the same sample of noise for all sigmas, so that only its size changes.

    Args:
        score: Computes the score of the present weights.
        weights: Weights that the noise is added to; they are restored after each score.
        sigmas: Sizes of the noise, in standard deviations of each matrix.
        repeats: Number of noise samples.
        seed: Seed of the noise.
    """
    for sigma in sigmas:
        for repeat in range(repeats):
            with weights.along((sigma, noise(weights.start, seed, repeat))):
                value = score()
            yield sigma, value
