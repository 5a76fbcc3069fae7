"""Loss around trained weights, on a line and on a plane (arXiv 1712.09913)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmqadapter.studies.analysis.perturbation import Perturbation, Values

Loss = Callable[[], float]


@dataclass(frozen=True)
class Scan:
    """Positions at which a landscape is evaluated.

    Attributes:
        radius: Largest distance, in norms of the weights: at 1 each filter has moved by its norm.
        points: Positions on a line, an odd number: the middle one is the trained weights.
        plane_points: Positions along each side of the plane, odd; 0 for no plane.
        directions: Number of random lines; the plane is spanned by the first two directions.
        seed: Seed of the directions.

    Raises:
        ValueError: A number is out of range.
    """

    radius: float = 1.0
    points: int = 21
    plane_points: int = 11
    directions: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.radius < float('inf'):
            raise ValueError(f'radius={self.radius} is invalid: expected a finite number above 0.')
        for name, value, low in (('directions', self.directions, 1), ('seed', self.seed, 0)):
            if value < low:
                raise ValueError(f'{name}={value} is invalid: expected {low} or more.')
        _require_odd('points', self.points)
        if self.plane_points:
            _require_odd('plane_points', self.plane_points)

    def positions(self, points: int) -> list[float]:
        """Return equidistant positions from -radius to radius; the middle one is exactly 0."""
        half = points // 2
        return [self.radius * step / half for step in range(-half, half + 1)]


def losses_on_line(
    loss: Loss, weights: Perturbation, direction: Values, positions: Sequence[float]
) -> Iterator[float]:
    """Yield the loss at each position along a direction; the weights are restored after each."""
    for position in positions:
        with weights.along((position, direction)):
            value = loss()
        yield value


def losses_on_plane(
    loss: Loss, weights: Perturbation, first: Values, second: Values, positions: Sequence[float]
) -> Iterator[float]:
    """Yield the loss at each position of a plane; the second direction runs along a row."""
    for row in positions:
        for column in positions:
            with weights.along((row, first), (column, second)):
                value = loss()
            yield value


def flatness(positions: Sequence[float], lines: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the loss in the middle, its rise at half and at the full radius, and its curvature.

    Rises are means over directions and both signs; the curvature is the mean second difference
    next to the middle. NaN where the loss is not finite.

    Args:
        positions: From -radius to radius, equidistant.
        lines: Losses at these positions, one list per direction.
    """
    losses = np.asarray(lines, dtype=np.float64)
    middle, step = len(positions) // 2, positions[-1] / (len(positions) // 2)
    center = losses[:, middle].mean()

    def rise(offset: int) -> float:
        with np.errstate(invalid='ignore'):
            return float(losses[:, [middle - offset, middle + offset]].mean() - center)

    half = max(round(middle / 2), 1)
    return {
        'loss': float(center),
        'rise_half': rise(half),
        'rise': rise(middle),
        'curvature': 2 * rise(1) / step**2,
    }


def _require_odd(name: str, value: int) -> None:
    if value < 3 or value % 2 == 0:
        raise ValueError(
            f'{name}={value} is invalid: expected an odd number of 3 or more, so that the trained '
            'weights are one of the positions.'
        )
