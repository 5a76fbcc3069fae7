"""Files of a report, and its table while the benchmark runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from mmqadapter.studies.benchmark.plots import TITLES, draw_plots
from mmqadapter.studies.benchmark.table import cells
from mmqadapter.studies.report.drawing import Series, series_of
from mmqadapter.studies.report.page import Page, chosen_plots, facts, render_page
from mmqadapter.studies.report.rows import Row
from mmqadapter.studies.report.table import markdown_table, terminal_table
from mmqadapter.utils.atomic import atomic_write

LEGEND = (
    'Memory: {memory}. Saved and time saved are shares of full fine-tuning. Memory left and '
    'time left are what a method still costs in the backbone: (method - frozen) / (full - frozen), '
    '0 is the limit, 1 is full fine-tuning. Seconds are medians, loading left out.'
)
WIDTH = 200  # columns of text that no number is cut short in


def write_report(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write report.json, report.md, report.html and the plots; returns their paths.

    Args:
        report: ``header`` and ``rows``.
        folder: Where to; made where it is missing.
    """
    header, rows = report['header'], report['rows']
    series = series_of([row['method'] for row in rows])
    pictures = draw_plots(rows, series, header['memory'])
    files = {
        'report.md': _markdown(header, rows).encode(),
        'report.html': render_page(_page(header, rows, series, pictures)).encode(),
        **pictures,
    }
    for name, content in files.items():
        atomic_write(folder / name, content)
    return [write_json(report, folder), *(folder / name for name in files)]


def _markdown(header: Mapping[str, Any], rows: Sequence[Row]) -> str:
    told = ''.join(f'- {name}: {value}\n' for name, value in facts(header).items())
    legend = LEGEND.format(memory=header['memory'])
    return f'# Cost of tuning methods\n\n{markdown_table(cells(rows))}\n{legend}\n\n{told}'


def _page(
    header: Mapping[str, Any],
    rows: Sequence[Row],
    series: Mapping[str, Series],
    pictures: Mapping[str, bytes],
) -> Page:
    return Page(
        title=f'Cost of tuning methods: {header["config"]}',
        facts=facts(header, left_out=('command',)),
        command=header['command'],
        table=cells(rows),
        legend=LEGEND.format(memory=header['memory']),
        series=series,
        plots=chosen_plots(TITLES, pictures),
    )


def write_json(report: dict[str, Any], folder: Path) -> Path:
    """Write report.json alone; returns its path."""
    path = folder / 'report.json'
    atomic_write(path, json.dumps(report, indent=1).encode())
    return path


class LiveReport:
    """Shows the table of an unfinished report and keeps its report.json up to date.

    Args:
        live: Where the table is shown.
        folder: Where report.json is.
    """

    def __init__(self, live: Live, folder: Path) -> None:
        self._live, self._folder = live, folder

    def __call__(self, report: dict[str, Any]) -> None:
        """Take note of the report as far as it is known."""
        header = report['header']
        title = f'{header["config"]}, batch {header["batch"]}, {header["precision"]}'
        self._live.update(terminal_table(cells(report['rows']), title), refresh=True)
        write_json(report, self._folder)


@contextmanager
def live_report(folder: Path) -> Iterator[LiveReport]:
    """A table that grows in the terminal; into a file or a pipe only its last state is written."""
    narrow = Console()
    console = narrow if narrow.is_terminal else Console(width=max(narrow.width, WIDTH))
    with Live(console=console, auto_refresh=False, vertical_overflow='visible') as live:
        yield LiveReport(live, folder)
    if not console.is_terminal:
        console.print()  # the line that the table leaves open there
