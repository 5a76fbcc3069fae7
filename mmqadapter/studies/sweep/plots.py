"""Plots of a sweep, as PNG and as SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure

from mmqadapter.studies.report.drawing import Draw, Series, draw_files, new_figure
from mmqadapter.studies.report.pareto import draw_pareto
from mmqadapter.studies.report.rows import memory
from mmqadapter.studies.report.table import mega
from mmqadapter.studies.sweep.rows import Row

Look = Mapping[str, Series]
Curve = Sequence[tuple[float, float]]
SMOOTHED = 50  # points of a curve that are left when it has more
TITLES = {
    'score_memory': 'Score against memory; the line is the front that no method beats in both',
    'score_time': 'Score against time, and the front',
    'score_task': 'Score against what is stored for a task, and the front',
    'scores': 'Score of each seed, and the mean',
    'losses': 'Training loss, mean over seeds',
    'validations': 'Score during training, mean over seeds',
}


def draw_plots(rows: Sequence[Row], series: Look, header: Mapping[str, str]) -> dict[str, bytes]:
    """Content of each picture by its file name; methods without scores are left out.

    Args:
        rows: Of the report.
        series: How each method looks.
        header: Of the report.

    Returns:
        None of what no method has: without timing there is no picture of time.
    """
    metric = header['metric']
    scored = [row for row in rows if row['score_mean'] is not None]
    plots: dict[str, Draw] = {}
    for name, (words, cost) in _costs(header['memory']).items():
        known = [row for row in scored if cost(row) is not None]
        if known:
            plots[name] = partial(_draw_against, known, series, cost, (words, metric))
    if scored:
        plots['scores'] = partial(_draw_scores, scored, series, metric)
    for name, key, words in (('losses', 'curves', 'loss'), ('validations', 'validations', metric)):
        curves = {row['method']: mean_curve(row[key]) for row in scored}
        if any(len(curve) > 1 for curve in curves.values()):
            plots[name] = partial(_draw_curves, curves, series, words)
    return draw_files(plots)


def _costs(memory_name: str) -> dict[str, tuple[str, Callable[[Row], float | None]]]:
    """Words at the axis, and the cost of a row in the unit that they say, by file name."""
    return {
        'score_memory': (f'{memory_name}, MB', lambda row: mega(memory(row))),
        'score_time': ('step, s', lambda row: row['step_seconds']),
        'score_task': ('file of a task, MB', lambda row: mega(row['task_bytes'])),
    }


def mean_curve(by_seed: Mapping[str, Curve]) -> Curve:
    """Mean over the seeds at the steps that all of them have; a long one is thinned by averaging.

    Args:
        by_seed: Pairs of step and value of each seed.
    """
    tables = [dict(curve) for curve in by_seed.values()]
    steps = sorted(set(tables[0]).intersection(*tables)) if tables else []
    points = [(step, sum(table[step] for table in tables) / len(tables)) for step in steps]
    size = max(1, len(points) // SMOOTHED)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _draw_against(
    rows: Sequence[Row],
    series: Look,
    cost: Callable[[Row], float | None],
    axes: tuple[str, str],
) -> Figure:
    points = {row['method']: (cost(row) or 0.0, row['score_mean']) for row in rows}
    deviations = {row['method']: row['score_deviation'] for row in rows}
    return draw_pareto(points, series, axes, highest=True, deviations=deviations)


def _draw_scores(rows: Sequence[Row], series: Look, metric: str) -> Figure:
    """A dot for each seed, a line for their mean."""
    figure, axis = new_figure(0.9 + 0.22 * len(rows))
    for place, row in enumerate(rows):
        look, values = series[row['method']], list(row['scores'].values())
        mark = axis.vlines(row['score_mean'], place - 0.35, place + 0.35, color=look.colour, lw=2)
        (dots,) = axis.plot(values, [place] * len(values), look.marker, color=look.colour, ms=5)
        for drawn in (mark, dots):
            drawn.set_gid(look.gid)
    axis.set_yticks(range(len(rows)), [row['method'] for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(metric)
    return figure


def _draw_curves(curves: Mapping[str, Curve], series: Look, words: str) -> Figure:
    figure, axis = new_figure()
    for name, curve in curves.items():
        if curve:
            (line,) = axis.plot(*zip(*curve, strict=True), color=series[name].colour, lw=1.3)
            line.set_gid(series[name].gid)
    axis.set(xlabel='iteration', ylabel=words)
    return figure
