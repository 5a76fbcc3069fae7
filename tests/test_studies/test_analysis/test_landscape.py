from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmqadapter.studies.analysis.directions import filter_normalized
from mmqadapter.studies.analysis.landscape import Scan, flatness, line, plane
from mmqadapter.studies.analysis.perturbation import Perturbation


class Bowl(nn.Module):
    """Loss 3 |w - m|^2, with its minimum at the weights that it starts with."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6, dtype=torch.float64))
        self.minimum = self.weight.detach().clone()

    @torch.no_grad()
    def forward(self) -> float:
        return float(3 * (self.weight - self.minimum).square().sum())


def test_the_landscape_of_a_bowl_is_the_known_one() -> None:
    bowl, scan = Bowl(), Scan(radius=2.0, points=9)
    moved = Perturbation({'weight': bowl.weight})
    places = scan.places(9)
    size = float(bowl.minimum.square().sum())  # which a filter-normalised direction has too
    lines = []
    for key in range(3):
        direction = filter_normalized(moved.start, key)
        lines.append(list(line(bowl, moved, direction, places)))
        assert lines[-1] == pytest.approx([3 * size * place**2 for place in places])
    assert torch.equal(bowl.weight, bowl.minimum)
    found = flatness(places, lines)
    assert found['loss'] == 0
    assert found['rise'] == pytest.approx(3 * size * 4)
    assert found['rise_half'] == pytest.approx(3 * size)
    assert found['curvature'] == pytest.approx(2 * 3 * size)


def test_a_plane_has_the_lines_through_its_middle() -> None:
    bowl, places = Bowl(), Scan(radius=1.0).places(5)
    moved = Perturbation({'weight': bowl.weight})
    first, second = (filter_normalized(moved.start, key) for key in (1, 2))
    surface = torch.tensor(list(plane(bowl, moved, first, second, places))).view(5, 5)
    assert surface[:, 2].tolist() == pytest.approx(list(line(bowl, moved, first, places)))
    assert surface[2].tolist() == pytest.approx(list(line(bowl, moved, second, places)))
    corner = first['weight'] + second['weight']
    assert float(surface[4, 4]) == pytest.approx(float(3 * corner.square().sum()))


def test_a_slope_is_no_curvature_and_an_overflow_is_no_number() -> None:
    places = [-1.0, -0.5, 0.0, 0.5, 1.0]
    slope = flatness(places, [[0.0, 1.0, 2.0, 3.0, 4.0]])
    assert (slope['loss'], slope['rise'], slope['curvature']) == (2.0, 0.0, 0.0)
    broken = flatness(places, [[math.nan, 1.0, 1.0, 1.0, math.inf]])
    assert math.isnan(broken['rise']) and broken['rise_half'] == 0


def test_places_are_symmetric_and_the_middle_is_exactly_zero() -> None:
    places = Scan(radius=0.3, points=7).places(7)
    assert places[3] == 0 and places[0] == -0.3 and places[-1] == 0.3
    assert [-place for place in reversed(places)] == places


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(radius=0), 'radius=0 is no distance'),
        (dict(radius=float('inf')), 'radius=inf is no distance'),
        (dict(points=20), 'points=20: use an odd number from 3'),
        (dict(points=1), 'points=1: use an odd number'),
        (dict(plane_points=2), 'plane_points=2: use an odd number'),
        (dict(directions=0), 'directions=0'),
        (dict(seed=-1), 'seed=-1'),
    ],
)
def test_what_cannot_be_scanned_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scan(**settings)
