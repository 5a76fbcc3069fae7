"""Cells, and tables of them for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table

MEGA = 1e6
MISSING = '-'


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What is shown.
        value: What it is sorted by; None comes last.
    """

    text: str
    value: str | float | None

    def __str__(self) -> str:
        return self.text


Lines = Sequence[Mapping[str, Cell]]  # a dict a row, by the words above the columns


def cell(value: Any) -> Cell:
    """A value with its text: whole numbers in groups of three, others with three digits or more."""
    if value is None:
        return Cell(MISSING, None)
    if isinstance(value, float):
        return Cell(f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3f}', value)
    return Cell(f'{value:,}' if isinstance(value, int) else str(value), value)


def mega(count: int | None) -> float | None:
    """Bytes in MB."""
    return None if count is None else count / MEGA


def terminal_table(lines: Lines, title: str) -> Table:
    """Table for rich; numbers are never cut short."""
    table = Table(title=title)
    for name in lines[0]:
        side: JustifyMethod = 'left' if name in ('method', 'note') else 'right'
        table.add_column(name, justify=side, overflow='fold')
    for line in lines:
        table.add_row(*map(str, line.values()))
    return table


def markdown_table(lines: Sequence[Mapping[str, Cell | str]]) -> str:
    """Table in Markdown, of cells or of plain texts."""
    names = list(lines[0])
    texts = [names, ['---'] * len(names), *([str(one) for one in ln.values()] for ln in lines)]
    return ''.join(f'| {" | ".join(text)} |\n' for text in texts)
