from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmqadapter.studies.fits.search import CEILING, CONTEXT, Curve, needed_bytes

LINES = st.lists(st.tuples(st.integers(1, 9000), st.integers(10, 3000)), min_size=1, max_size=3)


def right(peak, limit: int) -> int:
    return max((b for b in range(1, CEILING + 1) if peak(b) <= limit), default=0)


@given(LINES, st.integers(0, 60000), st.sampled_from([1, 2, 16]))
def test_the_largest_batch_of_convex_curves(lines, limit: int, start: int) -> None:
    calls = []

    def peak(batch: int) -> int:
        calls.append(batch)
        return max(fixed + slope * batch for fixed, slope in lines)

    curve = Curve(peak, start, min(fixed for fixed, _ in lines) // 2)
    assert curve.largest(limit) == right(peak, limit)
    less = limit * 9 // 10
    assert curve.interpolated(less) <= right(peak, less)


def test_a_line_takes_three_points() -> None:
    points: list[int] = []

    def peak(batch: int) -> int:
        points.append(batch)
        return 1000 + 100 * batch

    assert Curve(peak, 2, 900).largest(2950) == 19
    assert len(points) <= 4


def test_only_one_large_batch_is_foretold_of_a_line() -> None:
    """The time of a point grows with its images, and the first guess may be too large."""
    points: list[int] = []

    def peak(batch: int) -> int:
        points.append(batch)
        return 1000 + 100 * batch

    assert Curve(peak, 2, 1100).largest(8550) == 75
    assert sum(points) < 100


def test_a_batch_that_batch_norm_refuses_does_not_fit() -> None:
    def peak(batch: int) -> int:
        if batch == 1:
            raise ValueError('Expected more than 1 value per channel when training')
        return 100 * batch

    assert Curve(peak, 2, 0).largest(150) == 0
    assert Curve(peak, 2, 0).largest(250) == 2


def test_other_errors_are_raised() -> None:
    def peak(batch: int) -> int:
        if batch != 2:
            raise ValueError('cannot be foretold')
        return 100

    with pytest.raises(ValueError, match='cannot be foretold'):
        Curve(peak, 2, 0).largest(1000)


def test_the_margin() -> None:
    assert needed_bytes(10**9) == 1_100_000_000 + CONTEXT
