from __future__ import annotations

import pytest

from mmqadapter.studies.sweep.plots import CURVE_POINTS, mean_curve


def test_a_mean_curve_has_the_steps_of_all_seeds() -> None:
    curves = {'0': [[1, 4.0], [2, 2.0], [3, 1.0]], '1': [[1, 6.0], [3, 2.0]]}
    assert mean_curve(curves) == [(1, 5.0), (3, 1.5)]
    assert mean_curve({}) == [] and mean_curve({'0': []}) == []


def test_a_long_curve_is_averaged_in_blocks() -> None:
    curve = mean_curve({'0': [[step, float(step % 2)] for step in range(1, 1001)]})
    assert CURVE_POINTS <= len(curve) <= 2 * CURVE_POINTS and curve[-1][0] == 1000
    assert [value for _, value in curve] == pytest.approx([0.5] * len(curve))
