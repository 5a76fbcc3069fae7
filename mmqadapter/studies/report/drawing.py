"""What our plots share: colours, sizes, files, labels that keep clear of each other."""

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
INK, PAPER = '#1c2024', '#ffffff'  # the page puts its own in the place of these two
# Each has a contrast of 3.4 or more on white and on near black.
COLOURS = (
    '#2f7fd1', '#d9662b', '#2e9e5b', '#b455c8', '#d04a52', '#94802a', '#1793a4', '#7c858f',
)  # fmt: skip
# As matplotlib calls them, and as text.
MARKERS = {'o': '●', 's': '■', '^': '▲', 'D': '◆', 'v': '▼'}
LOOK: dict[Any, Any] = {
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
# Where a label may stand: points right and up of its own, horizontal and vertical alignment.
PLACES = (
    (6, 3, 'left', 'bottom'), (-6, 3, 'right', 'bottom'), (6, -3, 'left', 'top'),
    (-6, -3, 'right', 'top'), (0, 7, 'center', 'bottom'), (0, -7, 'center', 'top'),
)  # fmt: skip
STRIP_LINE, STRIP_COLUMNS = 0.17, 3  # of names below the axes: inches, and at most
Draw = Callable[[], Figure]


@dataclass(frozen=True)
class Series:
    """How a method looks in every plot of a report.

    Attributes:
        number: Its place among the methods; what is drawn of it has the id ``series-number``.
        colour: As ``'#rrggbb'``.
        marker: Of matplotlib.
    """

    number: int
    colour: str
    marker: str

    @property
    def gid(self) -> str:
        """Id of what is drawn of it, for matplotlib."""
        return f'series-{self.number}'

    @property
    def symbol(self) -> str:
        """The marker as text."""
        return MARKERS[self.marker]


def series_of(methods: Sequence[str]) -> dict[str, Series]:
    """A colour and a marker for each method; 40 of them differ."""
    markers = list(MARKERS)
    return {
        name: Series(number, COLOURS[number % len(COLOURS)], markers[number % len(markers)])
        for number, name in enumerate(methods)
    }


def draw_files(plots: Mapping[str, Draw]) -> dict[str, bytes]:
    """Content of each picture by its file name, in each of ``FORMATS``.

    Args:
        plots: What draws the figure of each name.
    """
    files = {}
    for name, draw in plots.items():
        # The salt makes ids differ between the plots of a page, and files equal between two runs.
        with mpl.rc_context({**LOOK, 'svg.hashsalt': name}):
            figure = draw()
            for kind in FORMATS:
                files[f'{name}.{kind}'] = _rendered(figure, kind)
    return files


def _rendered(figure: Figure, kind: str) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=DPI, metadata={'Date': None} if kind == 'svg' else None)
    return file.getvalue()


def new_figure(height: float = SIZE[1]) -> tuple[Figure, Axes]:
    """A figure with one pair of axes and a faint grid.

    Args:
        height: In inches.
    """
    figure = Figure(figsize=(SIZE[0], height), layout='constrained')
    axis = figure.subplots()
    axis.grid(True)
    axis.set_axisbelow(True)
    return figure, axis


def put_labels(
    axis: Axes, points: Mapping[str, tuple[float, float]], series: Mapping[str, Series]
) -> None:
    """Write names beside points; those that would touch another label or point, below the axes.

    Args:
        axis: With all that it will show.
        points: In data coordinates, by name; the first ones are placed first.
        series: How each looks.
    """
    figure = axis.get_figure(root=True)
    assert isinstance(figure, Figure)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine('none')  # nothing moves any more
    taken = [_around(axis, point) for point in points.values()]
    crowded = []
    for name, point in points.items():
        box = _put_label(axis, name, point, series[name], taken)
        if box is None:
            crowded.append(name)
        else:
            taken.append(box)
    if crowded:
        _write_below(figure, axis, {name: series[name] for name in crowded})


def _put_label(
    axis: Axes, name: str, point: tuple[float, float], look: Series, taken: Sequence[Bbox]
) -> Bbox | None:
    """Where the label stands now, if it found a place."""
    for place in PLACES:
        label = _write(axis, name, point, place)
        label.set(color=look.colour, gid=look.gid)
        box = label.get_window_extent()
        inside = axis.bbox.contains(*box.min) and axis.bbox.contains(*box.max)
        if inside and not box.count_overlaps(taken):
            return box
        label.remove()
    return None


def _write_below(figure: Figure, axis: Axes, series: Mapping[str, Series]) -> None:
    """Marker and name of each in a strip of its own; the axes keep their size in inches."""
    columns = _strip(figure, series)
    width, height = figure.get_size_inches()
    strip = STRIP_LINE * (ceil(len(series) / columns) + 0.5)
    left, bottom, wide, high = axis.get_position().bounds
    figure.set_size_inches(width, height + strip)
    share = height / (height + strip)
    axis.set_position((left, 1 - (1 - bottom) * share, wide, high * share))


def _strip(figure: Figure, series: Mapping[str, Series]) -> int:
    """Write the strip, in as many columns as the names leave room for; how many these are."""
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, ls='', gid=look.gid)
        for look in series.values()
    ]
    for columns in range(min(STRIP_COLUMNS, len(series)), 0, -1):
        strip = figure.legend(
            handles, list(series), loc='lower center', ncols=columns, fontsize=8, borderpad=0
        )
        figure.draw_without_rendering()
        if strip.get_window_extent().width <= figure.bbox.width or columns == 1:
            break
        strip.remove()
    return columns


def _write(
    axis: Axes, name: str, point: tuple[float, float], place: tuple[float, float, str, str]
) -> Annotation:
    right, up, horizontal, vertical = place
    return axis.annotate(
        name, point, xytext=(right, up), textcoords='offset points', ha=horizontal, va=vertical,
        fontsize=8,
    )  # fmt: skip


def _around(axis: Axes, point: tuple[float, float]) -> Bbox:
    x, y = axis.transData.transform(point)
    return Bbox.from_extents(x - 4, y - 4, x + 4, y + 4)
