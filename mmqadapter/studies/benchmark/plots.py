"""Plots of a benchmark, as PNG and as SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmqadapter.studies.report.drawing import Draw, Series, draw_files, new_figure
from mmqadapter.studies.report.pareto import draw_pareto
from mmqadapter.studies.report.rows import Row, memory
from mmqadapter.studies.report.table import MEGA

PARTS = {'forward': '#2f7fd1', 'backward': '#d9662b', 'optimizer': '#7c858f'}
Look = Mapping[str, Series]
TITLES = {
    'memory_time': 'Time against memory; the line is the front of all that adapt the backbone',
    'memory': 'Memory',
    'time': 'Time of a step',
    'task': 'File of a task',
}


def draw_plots(rows: Sequence[Row], series: Look, memory_name: str) -> dict[str, bytes]:
    """Content of each picture by its file name; methods without measurements are left out.

    Args:
        rows: Of the report.
        series: How each method looks.
        memory_name: What the memory figure is, for the axes.

    Returns:
        Nothing as long as nothing is measured.
    """
    measured = [row for row in rows if row['step_seconds'] is not None]
    words = f'{memory_name}, MB'
    plots: dict[str, Draw] = {
        'memory_time': partial(_draw_memory_and_time, measured, series, words),
        'memory': partial(_draw_bars, measured, series, _memory, words),
        'time': partial(_draw_seconds, measured),
        'task': partial(_draw_bars, measured, series, _task, 'MB'),
    }
    return draw_files(plots) if measured else {}


def _memory(row: Row) -> float:
    return (memory(row) or 0) / MEGA


def _task(row: Row) -> float:
    return row['task_bytes'] / MEGA


def _draw_memory_and_time(rows: Sequence[Row], series: Look, words: str) -> Figure:
    points = {row['method']: (_memory(row), row['step_seconds']) for row in rows}
    # What is frozen costs least and learns nothing: no method could be on a front with it.
    return draw_pareto(points, series, (words, 'step, s'), highest=False, apart=('frozen',))


def _draw_bars(
    rows: Sequence[Row], series: Look, value: Callable[[Row], float], words: str
) -> Figure:
    """A bar a method."""
    figure, axis = _bar_axis(rows)
    for place, row in enumerate(rows):
        look = series[row['method']]
        (bar,) = axis.barh(place, value(row), color=look.colour)
        bar.set_gid(look.gid)
    axis.set_xlabel(words)
    return figure


def _draw_seconds(rows: Sequence[Row]) -> Figure:
    """A bar a method, of forward, backward and optimiser."""
    figure, axis = _bar_axis(rows)
    done = [0.0] * len(rows)
    for part, colour in PARTS.items():
        seconds = [row[f'{part}_seconds'] for row in rows]
        axis.barh(range(len(rows)), seconds, left=done, color=colour, label=part)
        done = [before + own for before, own in zip(done, seconds, strict=True)]
    axis.set_xlabel('step, s')
    figure.legend(loc='outside upper center', ncols=len(PARTS))
    return figure


def _bar_axis(rows: Sequence[Row]) -> tuple[Figure, Axes]:
    figure, axis = new_figure(0.9 + 0.2 * len(rows))
    axis.set_yticks(range(len(rows)), [row['method'] for row in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    return figure, axis
