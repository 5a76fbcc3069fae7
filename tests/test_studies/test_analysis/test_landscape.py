from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmqadapter.studies.analysis.directions import filter_normalized
from mmqadapter.studies.analysis.landscape import (
    Scan,
    flatness,
    losses_on_line,
    losses_on_plane,
)
from mmqadapter.studies.analysis.perturbation import Perturbation


class Bowl(nn.Module):
    """Loss 3 |w - m|^2, whose minimum m is the initial weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6, dtype=torch.float64))
        self.minimum = self.weight.detach().clone()

    @torch.no_grad()
    def forward(self) -> float:
        return float(3 * (self.weight - self.minimum).square().sum())


def test_the_landscape_of_a_bowl_is_the_known_one() -> None:
    bowl, scan = Bowl(), Scan(radius=2.0, points=9)
    perturbation = Perturbation({'weight': bowl.weight})
    positions = scan.positions(9)
    size = float(bowl.minimum.square().sum())  # also that of a filter-normalized direction
    lines = []
    for key in range(3):
        direction = filter_normalized(perturbation.start, key)
        lines.append(list(losses_on_line(bowl, perturbation, direction, positions)))
        assert lines[-1] == pytest.approx([3 * size * position**2 for position in positions])
    assert torch.equal(bowl.weight, bowl.minimum)
    result = flatness(positions, lines)
    assert result['loss'] == 0
    assert result['rise'] == pytest.approx(3 * size * 4)
    assert result['rise_half'] == pytest.approx(3 * size)
    assert result['curvature'] == pytest.approx(2 * 3 * size)


def test_a_plane_has_the_lines_through_its_middle() -> None:
    bowl, positions = Bowl(), Scan(radius=1.0).positions(5)
    perturbation = Perturbation({'weight': bowl.weight})
    first, second = (filter_normalized(perturbation.start, key) for key in (1, 2))
    surface = torch.tensor(
        list(losses_on_plane(bowl, perturbation, first, second, positions))
    ).view(5, 5)
    assert surface[:, 2].tolist() == pytest.approx(
        list(losses_on_line(bowl, perturbation, first, positions))
    )
    assert surface[2].tolist() == pytest.approx(
        list(losses_on_line(bowl, perturbation, second, positions))
    )
    corner = first['weight'] + second['weight']
    assert float(surface[4, 4]) == pytest.approx(float(3 * corner.square().sum()))


def test_slope_has_no_curvature_and_overflow_gives_nan() -> None:
    positions = [-1.0, -0.5, 0.0, 0.5, 1.0]
    slope = flatness(positions, [[0.0, 1.0, 2.0, 3.0, 4.0]])
    assert (slope['loss'], slope['rise'], slope['curvature']) == (2.0, 0.0, 0.0)
    broken = flatness(positions, [[math.nan, 1.0, 1.0, 1.0, math.inf]])
    assert math.isnan(broken['rise']) and broken['rise_half'] == 0


def test_positions_are_symmetric_and_the_middle_is_exactly_zero() -> None:
    positions = Scan(radius=0.3, points=7).positions(7)
    assert positions[3] == 0 and positions[0] == -0.3 and positions[-1] == 0.3
    assert [-position for position in reversed(positions)] == positions


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(radius=0), 'radius=0 is invalid: expected a finite number above 0'),
        (dict(radius=float('inf')), 'radius=inf is invalid'),
        (dict(points=20), 'points=20 is invalid: expected an odd number of 3 or more'),
        (dict(points=1), 'points=1 is invalid: expected an odd number'),
        (dict(plane_points=2), 'plane_points=2 is invalid: expected an odd number'),
        (dict(directions=0), 'directions=0 is invalid'),
        (dict(seed=-1), 'seed=-1 is invalid'),
    ],
)
def test_invalid_scan_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scan(**settings)
