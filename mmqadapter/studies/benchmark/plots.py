"""Plots of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmqadapter.studies.report.drawing import Draw, Series, draw_files, new_figure
from mmqadapter.studies.report.pareto import draw_pareto
from mmqadapter.studies.report.rows import Row, memory_bytes
from mmqadapter.studies.report.table import MEGA

PART_COLORS = {'forward': '#2f7fd1', 'backward': '#d9662b', 'optimizer': '#7c858f'}
SeriesByMethod = Mapping[str, Series]
TITLES = {
    'memory_time': 'Time against memory, with the Pareto front of all but the frozen backbone',
    'memory': 'Memory',
    'time': 'Time of a step',
    'task': 'Size of a task file',
}


def draw_plots(rows: Sequence[Row], series: SeriesByMethod, memory_name: str) -> dict[str, bytes]:
    """Return the plots of all measured methods by file name; empty if none is measured.

    Args:
        rows: Rows of the report.
        series: Look of each method.
        memory_name: Name of the measured memory, for the axes.
    """
    measured = [row for row in rows if row['step_seconds'] is not None]
    label = f'{memory_name}, MB'
    plots: dict[str, Draw] = {
        'memory_time': partial(_draw_memory_and_time, measured, series, label),
        'memory': partial(_draw_bars, measured, series, _memory, label),
        'time': partial(_draw_seconds, measured),
        'task': partial(_draw_bars, measured, series, _task, 'MB'),
    }
    return draw_files(plots) if measured else {}


def _memory(row: Row) -> float:
    return (memory_bytes(row) or 0) / MEGA


def _task(row: Row) -> float:
    return row['task_bytes'] / MEGA


def _draw_memory_and_time(rows: Sequence[Row], series: SeriesByMethod, memory_label: str) -> Figure:
    points = {row['method']: (_memory(row), row['step_seconds']) for row in rows}
    # A frozen backbone costs least and learns nothing: it would be the whole front.
    labels = (memory_label, 'time of a step, s')
    return draw_pareto(points, series, labels, highest=False, exclude=('frozen',))


def _draw_bars(
    rows: Sequence[Row], series: SeriesByMethod, value: Callable[[Row], float], label: str
) -> Figure:
    figure, axis = _bar_axis(rows)
    for index, row in enumerate(rows):
        look = series[row['method']]
        (bar,) = axis.barh(index, value(row), color=look.color)
        bar.set_gid(look.gid)
    axis.set_xlabel(label)
    return figure


def _draw_seconds(rows: Sequence[Row]) -> Figure:
    """Draw a bar of forward, backward and optimizer for each method."""
    figure, axis = _bar_axis(rows)
    starts = [0.0] * len(rows)
    for part, color in PART_COLORS.items():
        seconds = [row[f'{part}_seconds'] for row in rows]
        axis.barh(range(len(rows)), seconds, left=starts, color=color, label=part)
        starts = [start + length for start, length in zip(starts, seconds, strict=True)]
    axis.set_xlabel('time of a step, s')
    figure.legend(loc='outside upper center', ncols=len(PART_COLORS))
    return figure


def _bar_axis(rows: Sequence[Row]) -> tuple[Figure, Axes]:
    figure, axis = new_figure(0.9 + 0.2 * len(rows))
    axis.set_yticks(range(len(rows)), [row['method'] for row in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    return figure, axis
