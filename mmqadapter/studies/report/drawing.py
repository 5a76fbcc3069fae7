"""Colors, sizes, file formats and label placement that all plots share."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

FORMATS = ('png', 'svg')
SIZE = (3.9, 3.2)  # inches: about as wide as a phone, so that a page need not shrink the text
DPI = 160
INK, PAPER = '#1c2024', '#ffffff'  # the page replaces these two by its own colors
# Each has a contrast of 3.4 or more on white and on near black.
COLORS = (
    '#2f7fd1', '#d9662b', '#2e9e5b', '#b455c8', '#d04a52', '#94802a', '#1793a4', '#7c858f',
)  # fmt: skip
MARKERS = {'o': '●', 's': '■', '^': '▲', 'D': '◆', 'v': '▼'}  # matplotlib's marker: character
STYLE: dict[Any, Any] = {
    'font.family': 'sans-serif',
    'font.sans-serif': ['DejaVu Sans', 'Verdana', 'sans-serif'],  # equally wide
    'font.size': 9,
    'svg.fonttype': 'none',  # text stays text
    'axes.spines.right': False,
    'axes.spines.top': False,
    'grid.color': INK,
    'grid.alpha': 0.12,
    'lines.markersize': 6,
    'legend.frameon': False,
    **dict.fromkeys(('figure.facecolor', 'axes.facecolor', 'savefig.facecolor'), PAPER),
    **dict.fromkeys(('text.color', 'axes.labelcolor', 'axes.edgecolor'), INK),
    **dict.fromkeys(('xtick.color', 'ytick.color'), INK),
}
# Label positions to try: offset from the point to the right and up (pt), alignment of the text.
LABEL_POSITIONS = (
    (6, 3, 'left', 'bottom'), (-6, 3, 'right', 'bottom'), (6, -3, 'left', 'top'),
    (-6, -3, 'right', 'top'), (0, 7, 'center', 'bottom'), (0, -7, 'center', 'top'),
)  # fmt: skip
LEGEND_LINE, LEGEND_COLUMNS = 0.17, 3  # legend below the axes: inches per line, maximum
Draw = Callable[[], Figure]


@dataclass(frozen=True)
class Series:
    """Look of a method in all plots of a report.

    Attributes:
        number: Index of the method; its parts of a plot have the id ``series-number``.
        color: Color as ``'#rrggbb'``.
        marker: Marker of matplotlib.
    """

    number: int
    color: str
    marker: str

    @property
    def gid(self) -> str:
        """Id of the method's parts of a plot, for matplotlib."""
        return f'series-{self.number}'

    @property
    def symbol(self) -> str:
        """Marker as a character."""
        return MARKERS[self.marker]


def series_of(methods: Sequence[str]) -> dict[str, Series]:
    """Return a color and a marker for each method; the first 40 methods differ."""
    markers = list(MARKERS)
    return {
        name: Series(number, COLORS[number % len(COLORS)], markers[number % len(markers)])
        for number, name in enumerate(methods)
    }


def draw_files(plots: Mapping[str, Draw]) -> dict[str, bytes]:
    """Return the content of each plot in each of ``FORMATS``, by file name.

    Args:
        plots: Functions that draw a figure, by file name without suffix.
    """
    files = {}
    for name, draw in plots.items():
        # The salt makes ids differ between the plots of a page, and files equal between two runs.
        with mpl.rc_context({**STYLE, 'svg.hashsalt': name}):
            figure = draw()
            for suffix in FORMATS:
                files[f'{name}.{suffix}'] = _render(figure, suffix)
    return files


def _render(figure: Figure, suffix: str) -> bytes:
    file = io.BytesIO()
    metadata = {'Date': None} if suffix == 'svg' else None
    figure.savefig(file, format=suffix, dpi=DPI, metadata=metadata)
    return file.getvalue()


def new_figure(height: float = SIZE[1]) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes and a faint grid.

    Args:
        height: Height in inches.
    """
    figure = Figure(figsize=(SIZE[0], height), layout='constrained')
    axis = figure.subplots()
    axis.grid(True)
    axis.set_axisbelow(True)
    return figure, axis


# adjustText was tried: in clusters its labels overlap, leave the axes or end up far from the point.
def put_labels(
    axis: Axes, points: Mapping[str, tuple[float, float]], series: Mapping[str, Series]
) -> None:
    """Write names beside points; those that do not fit go into a legend below the axes.

    A label fits if it is inside the axes and touches no other label or point.

    Args:
        axis: Axes with everything else already drawn.
        points: Points in data coordinates, by name, in order of priority.
        series: Look of each name.
    """
    figure = axis.get_figure(root=True)
    assert isinstance(figure, Figure)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine('none')  # positions are final from here on
    occupied = [_point_box(axis, point) for point in points.values()]
    unplaced = []
    for name, point in points.items():
        box = _place_label(axis, name, point, series[name], occupied)
        if box is None:
            unplaced.append(name)
        else:
            occupied.append(box)
    if unplaced:
        _add_legend_below(figure, axis, {name: series[name] for name in unplaced})


def _place_label(
    axis: Axes, name: str, point: tuple[float, float], look: Series, occupied: Sequence[Bbox]
) -> Bbox | None:
    """Write a label at the first position that fits; return its box, or None if none fits."""
    for position in LABEL_POSITIONS:
        label = _annotate(axis, name, point, position)
        label.set(color=look.color, gid=look.gid)
        box = label.get_window_extent()
        inside = axis.bbox.contains(*box.min) and axis.bbox.contains(*box.max)
        if inside and not box.count_overlaps(occupied):
            return box
        label.remove()
    return None


def _add_legend_below(figure: Figure, axis: Axes, series: Mapping[str, Series]) -> None:
    """Add a legend and make the figure higher for it; the axes keep their size in inches."""
    columns = _draw_legend(figure, series)
    width, height = figure.get_size_inches()
    legend_height = LEGEND_LINE * (ceil(len(series) / columns) + 0.5)
    left, bottom, axis_width, axis_height = axis.get_position().bounds
    figure.set_size_inches(width, height + legend_height)
    scale = height / (height + legend_height)
    axis.set_position((left, 1 - (1 - bottom) * scale, axis_width, axis_height * scale))


def _draw_legend(figure: Figure, series: Mapping[str, Series]) -> int:
    """Draw the legend in as many columns as fit into the figure; return their number."""
    handles = [
        Line2D([], [], color=look.color, marker=look.marker, ls='', gid=look.gid)
        for look in series.values()
    ]
    for columns in range(min(LEGEND_COLUMNS, len(series)), 0, -1):
        legend = figure.legend(
            handles, list(series), loc='lower center', ncols=columns, fontsize=8, borderpad=0
        )
        figure.draw_without_rendering()
        if legend.get_window_extent().width <= figure.bbox.width or columns == 1:
            break
        legend.remove()
    return columns


def _annotate(
    axis: Axes, name: str, point: tuple[float, float], position: tuple[float, float, str, str]
) -> Annotation:
    right, up, horizontal, vertical = position
    return axis.annotate(
        name, point, xytext=(right, up), textcoords='offset points', ha=horizontal, va=vertical,
        fontsize=8,
    )  # fmt: skip


def _point_box(axis: Axes, point: tuple[float, float]) -> Bbox:
    x, y = axis.transData.transform(point)
    return Bbox.from_extents(x - 4, y - 4, x + 4, y + 4)
