"""Which methods no other one beats in both of two respects, and the picture of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmqadapter.studies.report.drawing import INK, Series, new_figure, put_labels

Points = Mapping[str, tuple[float, float]]
LOG_FROM = 50  # costs that differ by this factor are drawn on a logarithmic axis


def pareto_front(points: Points, highest: bool) -> list[str]:
    """Names of the points that no other one dominates, from the lowest cost to the highest.

    Args:
        points: Cost, which is better low, and value, by name.
        highest: Whether a high value is better; a low one if not.
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
    axes: tuple[str, str],
    highest: bool,
    deviations: Mapping[str, float | None] | None = None,
    apart: Collection[str] = (),
) -> Figure:
    """Each method as a point, cost across and value up, with the line of the front.

    Args:
        points: Cost and value by name.
        series: How each looks.
        axes: Words at the two axes.
        highest: Whether a high value is better; if not, both axes start at 0.
        deviations: Of the values, drawn as bars.
        apart: Names that are drawn and have no part in the front.
    """
    figure, axis = new_figure()
    for name, point in points.items():
        _draw_point(axis, point, (deviations or {}).get(name) or 0, series[name])
    front = pareto_front({name: p for name, p in points.items() if name not in apart}, highest)
    steps = [points[name] for name in front]
    axis.plot(*zip(*steps, strict=True), drawstyle='steps-post', color=INK, alpha=0.4, ls='--')
    _set_scale(axis, [cost for cost, _ in points.values()])
    if not highest:
        axis.set_ylim(bottom=0)
    axis.set(xlabel=axes[0], ylabel=axes[1])
    put_labels(axis, {name: points[name] for name in [*front, *points]}, series)
    return figure


def _draw_point(axis: Axes, point: tuple[float, float], deviation: float, look: Series) -> None:
    cost, value = point
    bar = axis.vlines(cost, value - deviation, value + deviation, color=look.colour, alpha=0.5)
    (dot,) = axis.plot(cost, value, look.marker, color=look.colour)
    for drawn in (bar, dot):
        drawn.set_gid(look.gid)


def _set_scale(axis: Axes, costs: list[float]) -> None:
    axis.margins(0.16)
    if min(costs) > 0 and max(costs) / min(costs) >= LOG_FROM:
        axis.set_xscale('log')
    else:
        # Of the costs themselves: margins are of their range, which may be next to nothing.
        axis.set_xlim(0, 1.16 * max(costs) or None)
