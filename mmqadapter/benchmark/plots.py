"""Plots of a benchmark, as PNG and as SVG."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmqadapter.benchmark.rows import Row, memory
from mmqadapter.benchmark.table import MEGA

FORMATS = ('png', 'svg')
PARTS = ('forward', 'backward', 'optimizer')


def draw_plots(rows: Sequence[Row], memory_name: str) -> dict[str, bytes]:
    """Content of each picture by its file name; methods without measurements are left out.

    Args:
        rows: Of the report.
        memory_name: What the memory figure is, for the axes.
    """
    measured = [row for row in rows if row['step_seconds'] is not None]
    return {
        f'{name}.{kind}': content
        for name, draw in PLOTS.items()
        for kind, content in _rendered(draw(measured, memory_name)).items()
    }


def _draw_costs(rows: Sequence[Row], memory_name: str) -> Figure:
    """Bars of memory, time in its parts, and bytes of a task."""
    figure = Figure(figsize=(13, 1.6 + 0.34 * len(rows)), layout='constrained')
    memory_axis, time_axis, task_axis = figure.subplots(1, 3, sharey=True)
    names = [row['method'] for row in rows]
    memory_axis.barh(names, [(memory(row) or 0) / MEGA for row in rows], color='C0')
    memory_axis.set_xlabel(f'memory ({memory_name}), MB')
    _stack_seconds(time_axis, rows)
    task_axis.barh(names, [row['task_bytes'] / MEGA for row in rows], color='C4')
    task_axis.set_xlabel('file of a task, MB')
    memory_axis.invert_yaxis()
    return figure


def _stack_seconds(axis: Axes, rows: Sequence[Row]) -> None:
    done = [0.0] * len(rows)
    for number, part in enumerate(PARTS, start=1):
        seconds = [row[f'{part}_seconds'] for row in rows]
        names = [row['method'] for row in rows]
        axis.barh(names, seconds, left=done, color=f'C{number}', label=part)
        done = [before + own for before, own in zip(done, seconds, strict=True)]
    axis.set_xlabel('step, s')
    axis.legend(fontsize=8)


def _draw_memory_and_time(rows: Sequence[Row], memory_name: str) -> Figure:
    """Each method as a point: memory across, time up; near the corner is good."""
    figure = Figure(figsize=(7, 5), layout='constrained')
    axis = figure.subplots()
    for row in rows:
        point = (memory(row) or 0) / MEGA, row['step_seconds']
        axis.plot(*point, 'o')
        axis.annotate(row['method'], point, xytext=(5, 4), textcoords='offset points', fontsize=8)
    axis.set_xlabel(f'memory ({memory_name}), MB')
    axis.set_ylabel('step, s')
    axis.margins(0.15)
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    return figure


PLOTS: dict[str, Callable[[Sequence[Row], str], Figure]] = {
    'costs': _draw_costs,
    'memory_time': _draw_memory_and_time,
}


def _rendered(figure: Figure) -> dict[str, bytes]:
    pictures = {}
    for kind in FORMATS:
        page = io.BytesIO()
        figure.savefig(page, format=kind, dpi=110)
        pictures[kind] = page.getvalue()
    return pictures
