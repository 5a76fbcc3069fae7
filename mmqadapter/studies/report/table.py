"""Cells, and tables of cells for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table

MEGA = 1e6
MISSING = '-'
BORDER = 3  # columns of text that a table takes beside each of its columns


@dataclass(frozen=True)
class Cell:
    """Cell of a table.

    Attributes:
        text: Text that is shown.
        value: Value to sort by; None is sorted last.
    """

    text: str
    value: str | float | None

    def __str__(self) -> str:
        return self.text


TableRows = Sequence[Mapping[str, Cell]]  # cells by column heading


def cell(value: Any) -> Cell:
    """Return a cell of a value: integers with thousands separators, floats with three digits."""
    if value is None:
        return Cell(MISSING, None)
    if isinstance(value, float):
        return Cell(f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3f}', value)
    return Cell(f'{value:,}' if isinstance(value, int) else str(value), value)


def megabytes(count: int | None) -> float | None:
    """Convert bytes to MB."""
    return None if count is None else count / MEGA


def terminal_table(rows: TableRows, title: str) -> Table:
    """Return a table for rich that wraps long values instead of cutting them off."""
    table = Table(title=title)
    for name in rows[0]:
        side: JustifyMethod = 'left' if name in ('method', 'note') else 'right'
        table.add_column(name, justify=side, overflow='fold')
    for row in rows:
        table.add_row(*map(str, row.values()))
    return table


def terminal_tables(rows: TableRows, title: str, width: int) -> Iterator[Table]:
    """Yield the table of :func:`terminal_table`, or narrower ones with a column for each row.

    Args:
        rows: Cells by column heading; the first heads the column in a narrow table.
        title: Title of each table.
        width: Columns of text of the terminal; headings break between words only.
    """
    head, *names = rows[0]
    words = [max(map(len, name.split())) for name in rows[0]]
    values = [max(len(str(row[name])) for row in rows) for name in rows[0]]
    widths = list(map(max, words, values))
    if sum(widths) + BORDER * len(rows[0]) < width:
        table = terminal_table(rows, title)
        for column, least in zip(table.columns, widths, strict=True):
            column.min_width = least
        yield table
        return
    longest = max(len(str(cell)) for row in rows for cell in row.values())
    count = max((width - max(map(len, names)) - BORDER - 1) // (longest + BORDER), 1)
    for start in range(0, len(rows), count):
        part = rows[start : start + count]
        table = Table(head, title=title)
        for row in part:
            table.add_column(str(row[head]), justify='right', no_wrap=True)
        for name in names:
            table.add_row(name, *(str(row[name]) for row in part))
        yield table


def markdown_table(rows: Sequence[Mapping[str, Cell | str]]) -> str:
    """Return a table in Markdown."""
    names = list(rows[0])
    lines = [names, ['---'] * len(names), *([str(value) for value in row.values()] for row in rows)]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)
