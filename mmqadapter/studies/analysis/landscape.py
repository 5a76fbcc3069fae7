"""The loss around trained weights, on a line and on a plane (arXiv 1712.09913)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmqadapter.studies.analysis.perturbation import Perturbation, Values

Loss = Callable[[], float]


@dataclass(frozen=True)
class Scan:
    """Where a landscape is looked at.

    Attributes:
        radius: Farthest place, in lengths of the weights: at 1 each filter has moved by its norm.
        points: Places on a line, an odd number: the middle one is the trained weights.
        plane_points: Places along each side of the plane, odd; 0 for no plane.
        directions: Random lines; the plane lies along the first two directions.
        seed: Of the directions.

    Raises:
        ValueError: A number outside its range.
    """

    radius: float = 1.0
    points: int = 21
    plane_points: int = 11
    directions: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.radius < float('inf'):
            raise ValueError(f'radius={self.radius} is no distance; use a number above 0.')
        if self.directions < 1 or self.seed < 0:
            raise ValueError(
                f'directions={self.directions}, seed={self.seed}: use 1 or more directions and a '
                'seed of 0 or more.'
            )
        for name, value, least in (
            ('points', self.points, 3),
            ('plane_points', self.plane_points, 3 if self.plane_points else 0),
        ):
            if value < least or (value and value % 2 == 0):
                raise ValueError(
                    f'{name}={value}: use an odd number from 3, so that the trained weights are '
                    'one of the places.'
                )

    def places(self, points: int) -> list[float]:
        """So many distances from -radius to radius; the middle one is exactly 0."""
        half = points // 2
        return [self.radius * step / half for step in range(-half, half + 1)]


def line(
    loss: Loss, weights: Perturbation, direction: Values, places: Sequence[float]
) -> Iterator[float]:
    """Loss at each place along a direction; the weights are back after each."""
    for place in places:
        with weights.along((place, direction)):
            value = loss()
        yield value


def plane(
    loss: Loss, weights: Perturbation, first: Values, second: Values, places: Sequence[float]
) -> Iterator[float]:
    """Loss at each place along two directions, row by row: the second direction in a row."""
    for across in places:
        for along in places:
            with weights.along((across, first), (along, second)):
                value = loss()
            yield value


def flatness(places: Sequence[float], lines: Sequence[Sequence[float]]) -> dict[str, Any]:
    """How flat the place is: loss in the middle, rise at half and at the whole radius, curvature.

    Rises are means over directions and both signs; the curvature is the mean second difference
    next to the middle. NaN where the loss is not finite.

    Args:
        places: From -radius to radius, equally spaced.
        lines: Losses at these places, one list a direction.
    """
    losses = np.asarray(lines, dtype=np.float64)
    middle, step = len(places) // 2, places[-1] / (len(places) // 2)
    centre = losses[:, middle].mean()

    def rise(offset: int) -> float:
        with np.errstate(invalid='ignore'):
            return float(losses[:, [middle - offset, middle + offset]].mean() - centre)

    half = max(round(middle / 2), 1)
    return {
        'loss': float(centre),
        'rise_half': rise(half),
        'rise': rise(middle),
        'curvature': 2 * rise(1) / step**2,
    }
