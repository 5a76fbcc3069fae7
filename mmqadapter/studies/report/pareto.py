"""Pareto front of methods in cost and value, and its plot."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmqadapter.studies.report.drawing import INK, Series, new_figure, put_labels

Points = Mapping[str, tuple[float, float]]
LOG_RATIO = 50  # ratio of costs from which the cost axis is logarithmic


def pareto_front(points: Points, highest: bool) -> list[str]:
    """Return the names of the points that no other point dominates, in order of cost.

    Args:
        points: Cost, where low is better, and value, by name.
        highest: True if a high value is better, False if a low value is.
    """
    sign = 1 if highest else -1
    order = sorted(points, key=lambda name: (points[name][0], -sign * points[name][1]))
    front: list[str] = []
    for name in order:
        if not front or sign * (points[name][1] - points[front[-1]][1]) > 0:
            front.append(name)
    return front


def draw_pareto(
    points: Points,
    series: Mapping[str, Series],
    axis_labels: tuple[str, str],
    highest: bool,
    deviations: Mapping[str, float | None] | None = None,
    exclude: Collection[str] = (),
) -> Figure:
    """Draw each method as a point, cost to the right and value up, and the line of the front.

    Args:
        points: Cost and value by name.
        series: Look of each method.
        axis_labels: Labels of the cost and the value axis.
        highest: True if a high value is better; if False, the value axis starts at 0.
        deviations: Standard deviations of the values, drawn as bars.
        exclude: Names that are drawn but left out of the front.
    """
    figure, axis = new_figure()
    for name, point in points.items():
        _draw_point(axis, point, (deviations or {}).get(name) or 0, series[name])
    front = pareto_front({name: p for name, p in points.items() if name not in exclude}, highest)
    corners = [points[name] for name in front]
    axis.plot(*zip(*corners, strict=True), drawstyle='steps-post', color=INK, alpha=0.4, ls='--')
    _set_cost_scale(axis, [cost for cost, _ in points.values()])
    if not highest:
        axis.set_ylim(bottom=0)
    axis.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
    put_labels(axis, {name: points[name] for name in [*front, *points]}, series)
    return figure


def _draw_point(axis: Axes, point: tuple[float, float], deviation: float, look: Series) -> None:
    cost, value = point
    bar = axis.vlines(cost, value - deviation, value + deviation, color=look.color, alpha=0.5)
    (dot,) = axis.plot(cost, value, look.marker, color=look.color)
    for artist in (bar, dot):
        artist.set_gid(look.gid)


def _set_cost_scale(axis: Axes, costs: list[float]) -> None:
    axis.margins(0.16)
    if min(costs) > 0 and max(costs) / min(costs) >= LOG_RATIO:
        axis.set_xscale('log')
    else:
        # A margin of the costs themselves: matplotlib's is of their range, which may be near 0.
        axis.set_xlim(0, 1.16 * max(costs) or None)
