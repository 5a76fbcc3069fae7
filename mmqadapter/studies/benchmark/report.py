"""Report of a benchmark: its files, and its table in the terminal during the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from mmqadapter.studies.benchmark.plots import TITLES, draw_plots
from mmqadapter.studies.benchmark.table import cells
from mmqadapter.studies.report.drawing import Series, series_of
from mmqadapter.studies.report.files import Report, load_report, write_files, write_json
from mmqadapter.studies.report.page import Page, header_texts, render_page, svg_by_title
from mmqadapter.studies.report.rows import Row, memory_definition, memory_name
from mmqadapter.studies.report.table import markdown_table, terminal_table

LEGEND = (
    'Memory: {memory}. Memory saved and time saved are fractions of full fine-tuning. Memory cost '
    'left and time cost left are what a method costs in the backbone: (method - frozen) / '
    '(full - frozen); 0 is a frozen backbone, 1 is full fine-tuning. Times are medians without '
    'data loading.'
)
WIDTH = 200  # columns of text in which no number is cut off


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write report.json, report.md, report.html and the plots; return their paths.

    Args:
        report: Report with ``header`` and ``rows``.
        folder: Folder to write to, created if missing.
    """
    return [write_json(report, folder), *write_files(_render(report), folder)]


def rebuild_report(folder: Path) -> list[Path]:
    """Write report.md, report.html and the plots from the report.json of a folder.

    Returns:
        Paths of the written files.

    Raises:
        FileNotFoundError: The folder has no report.json.
        ValueError: The file is not a report of a benchmark.
    """
    return write_files(_render(load_report(folder, 'mmqadapter benchmark', 'batch')), folder)


def _render(report: Report) -> dict[str, bytes]:
    header, rows = report['header'], report['rows']
    series = series_of([row['method'] for row in rows])
    plots = draw_plots(rows, series, memory_name(header))
    return {
        'report.md': _markdown(header, rows).encode(),
        'report.html': render_page(_page(header, rows, series, plots)).encode(),
        **plots,
    }


def _legend(header: Mapping[str, Any]) -> str:
    return LEGEND.format(memory=memory_definition(header))


def _markdown(header: Mapping[str, Any], rows: Sequence[Row]) -> str:
    details = ''.join(f'- {name}: {value}\n' for name, value in header_texts(header).items())
    table = markdown_table(cells(rows))
    return f'# Cost of tuning methods\n\n{table}\n{_legend(header)}\n\n{details}'


def _page(
    header: Mapping[str, Any],
    rows: Sequence[Row],
    series: Mapping[str, Series],
    plots: Mapping[str, bytes],
) -> Page:
    return Page(
        title=f'Cost of tuning methods: {header["config"]}',
        details=header_texts(header, exclude=('command',)),
        command=header['command'],
        table=cells(rows),
        legend=_legend(header),
        series=series,
        plots=svg_by_title(TITLES, plots),
    )


class LiveReport:
    """Observer of a benchmark that updates a table in the terminal and a report.json.

    Args:
        live: Display of the table.
        folder: Folder of report.json.
    """

    def __init__(self, live: Live, folder: Path) -> None:
        self._live, self._folder = live, folder

    def __call__(self, report: Report) -> None:
        """Show and write the unfinished report."""
        header = report['header']
        title = f'{header["config"]}, batch {header["batch"]}, {header["precision"]}'
        self._live.update(terminal_table(cells(report['rows']), title), refresh=True)
        write_json(report, self._folder)


@contextmanager
def live_report(folder: Path) -> Iterator[LiveReport]:
    """Show a growing table in the terminal; a file or a pipe gets only its last state."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, WIDTH))
    with Live(console=console, auto_refresh=False, vertical_overflow='visible') as live:
        yield LiveReport(live, folder)
    if not console.is_terminal:
        console.print()  # ends the line that Live leaves open
