"""Plots of a sweep, as PNG and as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from mmqadapter.benchmark.plots import FORMATS
from mmqadapter.sweep.rows import Row

MEGA = 1e6
# File name: figure of a row, the words at its axis, what one unit there is.
COSTS = {
    'score_memory': ('saved_for_backward_bytes', 'saved for backward, MB', MEGA),
    'score_time': ('step_seconds', 'step, s', 1.0),
    'score_task': ('task_bytes', 'file of a task, MB', MEGA),
}


def draw_plots(rows: Sequence[Row], metric: str) -> dict[str, bytes]:
    """Content of each picture by its file name; methods without scores are left out.

    Args:
        rows: Of the report.
        metric: Name of the score, for the axes.

    Returns:
        None of what no method has: without timing there is no picture of time.
    """
    scored = [row for row in rows if row['score_mean'] is not None]
    figures = {'scores': _draw_scores(scored, metric)} if scored else {}
    for name, (key, words, unit) in COSTS.items():
        known = [row for row in scored if row[key] is not None]
        if known:
            figures[name] = _draw_against(known, key, words, unit, metric)
    return {
        f'{name}.{kind}': _rendered(figure, kind)
        for name, figure in figures.items()
        for kind in FORMATS
    }


def _draw_scores(rows: Sequence[Row], metric: str) -> Figure:
    """A dot for each seed, a line for their mean."""
    figure = Figure(figsize=(8, 1.4 + 0.36 * len(rows)), layout='constrained')
    axis = figure.subplots()
    for place, row in enumerate(rows):
        values = list(row['scores'].values())
        axis.plot(values, [place] * len(values), 'o', color=f'C{place % 10}', alpha=0.7)
        axis.vlines(row['score_mean'], place - 0.35, place + 0.35, color=f'C{place % 10}')
    axis.set_yticks(range(len(rows)), [row['method'] for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(f'{metric}: each seed, and the mean')
    axis.grid(axis='x', alpha=0.3)
    return figure


def _draw_against(rows: Sequence[Row], key: str, words: str, unit: float, metric: str) -> Figure:
    """Each method as a point with its deviation: cost across, score up."""
    figure = Figure(figsize=(8, 5.5), layout='constrained')
    axis = figure.subplots()
    for place, row in enumerate(rows):
        point = row[key] / unit, row['score_mean']
        axis.errorbar(*point, yerr=row['score_deviation'] or 0, fmt='o', color=f'C{place % 10}')
        axis.annotate(row['method'], point, xytext=(5, 4), textcoords='offset points', fontsize=8)
    axis.set_xlabel(words)
    axis.set_ylabel(f'{metric}, mean and deviation over seeds')
    axis.margins(0.15)
    axis.set_xlim(left=0)
    return figure


def _rendered(figure: Figure, kind: str) -> bytes:
    page = io.BytesIO()
    figure.savefig(page, format=kind, dpi=110)
    return page.getvalue()
