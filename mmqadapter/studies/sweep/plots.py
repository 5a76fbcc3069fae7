"""Plots of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from mmqadapter.studies.report.drawing import Draw, Series, draw_files, new_figure
from mmqadapter.studies.report.pareto import draw_pareto
from mmqadapter.studies.report.rows import memory_bytes, memory_name
from mmqadapter.studies.report.table import megabytes
from mmqadapter.studies.sweep.rows import Row

SeriesByMethod = Mapping[str, Series]
Curve = Sequence[tuple[float, float]]
CURVE_POINTS = 50  # longer curves are averaged to 50 to 100 points
TITLES = {
    'score_memory': 'Score against memory, with the Pareto front',
    'score_time': 'Score against time, with the Pareto front',
    'score_task': 'Score against the size of a task file, with the Pareto front',
    'scores': 'Score of each seed (symbol) and mean (line)',
    'losses': 'Training loss, mean of the seeds',
    'validations': 'Score during training, mean of the seeds',
}


def draw_plots(
    rows: Sequence[Row], series: SeriesByMethod, header: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return the plots of all methods with scores, by file name.

    A plot of values that no method has is left out, such as that of time without timed trainings.

    Args:
        rows: Rows of the report.
        series: Look of each method.
        header: Header of the report.
    """
    metric = header['metric']
    scored = [row for row in rows if row['score_mean'] is not None]
    plots: dict[str, Draw] = {}
    for name, (label, cost) in _costs(memory_name(header)).items():
        known = [row for row in scored if cost(row) is not None]
        if known:
            plots[name] = partial(_draw_score_against, known, series, cost, (label, metric))
    if scored:
        plots['scores'] = partial(_draw_scores, scored, series, metric)
    for name, key, label in (('losses', 'curves', 'loss'), ('validations', 'validations', metric)):
        curves = {row['method']: mean_curve(row[key]) for row in scored}
        if any(len(curve) > 1 for curve in curves.values()):
            plots[name] = partial(_draw_curves, curves, series, label)
    return draw_files(plots)


def _costs(memory: str) -> dict[str, tuple[str, Callable[[Row], float | None]]]:
    """Return the axis label and the function from a row to its cost, by file name."""
    return {
        'score_memory': (f'{memory}, MB', lambda row: megabytes(memory_bytes(row))),
        'score_time': ('time of a step, s', lambda row: row['step_seconds']),
        'score_task': ('task file, MB', lambda row: megabytes(row['task_bytes'])),
    }


def mean_curve(by_seed: Mapping[str, Curve]) -> Curve:
    """Return the mean of the seeds at the steps that all have; long curves are block averages.

    Args:
        by_seed: Pairs of step and value of each seed.
    """
    tables = [dict(curve) for curve in by_seed.values()]
    steps = sorted(set(tables[0]).intersection(*tables)) if tables else []
    points = [(step, sum(table[step] for table in tables) / len(tables)) for step in steps]
    size = max(1, len(points) // CURVE_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _draw_score_against(
    rows: Sequence[Row],
    series: SeriesByMethod,
    cost: Callable[[Row], float | None],
    axis_labels: tuple[str, str],
) -> Figure:
    points = {row['method']: (cost(row) or 0.0, row['score_mean']) for row in rows}
    deviations = {row['method']: row['score_deviation'] for row in rows}
    return draw_pareto(points, series, axis_labels, highest=True, deviations=deviations)


def _draw_scores(rows: Sequence[Row], series: SeriesByMethod, metric: str) -> Figure:
    figure, axis = new_figure(0.9 + 0.22 * len(rows))
    for index, row in enumerate(rows):
        look, values = series[row['method']], list(row['scores'].values())
        line = axis.vlines(row['score_mean'], index - 0.35, index + 0.35, color=look.color, lw=2)
        (dots,) = axis.plot(values, [index] * len(values), look.marker, color=look.color, ms=5)
        for artist in (line, dots):
            artist.set_gid(look.gid)
    axis.set_yticks(range(len(rows)), [row['method'] for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(metric)
    return figure


def _draw_curves(curves: Mapping[str, Curve], series: SeriesByMethod, label: str) -> Figure:
    figure, axis = new_figure()
    for name, curve in curves.items():
        if curve:
            (line,) = axis.plot(*zip(*curve, strict=True), color=series[name].color, lw=1.3)
            line.set_gid(series[name].gid)
    axis.set(xlabel='iteration', ylabel=label)
    return figure
