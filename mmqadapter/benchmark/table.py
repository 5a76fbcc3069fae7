"""The rows as a reader sees them: cells, and tables of them for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table

from mmqadapter.benchmark.rows import Row, memory

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


def columns(rows: Sequence[Row]) -> dict[str, Callable[[Row], Any]]:
    """What is shown of each row, by the words above it; numbers in the units that these say."""
    shown: dict[str, Callable[[Row], Any]] = {
        'method': lambda row: row['method'],
        'bits': lambda row: row['bits'],
        'trains in backbone': lambda row: row['trainable_backbone_params'],
        'adapters, bytes': lambda row: row['adapter_bytes'],
        'task, bytes': lambda row: row['task_bytes'],
        'memory, MB': lambda row: mega(memory(row)),
        'saved': lambda row: row['memory_saving'],
        's per step': lambda row: row['step_seconds'],
        'forward': lambda row: row['forward_seconds'],
        'backward': lambda row: row['backward_seconds'],
        'optimizer': lambda row: row['optimizer_seconds'],
        'time saved': lambda row: row['time_saving'],
        'memory left': lambda row: row['backbone_cost_left_memory'],
        'time left': lambda row: row['backbone_cost_left_time'],
    }
    if any(row['max_batch'] is not None for row in rows):
        shown['max batch'] = lambda row: row['max_batch']
    if any(row['note'] is not None for row in rows):
        shown['note'] = lambda row: row['note']
    return shown


def cells(rows: Sequence[Row]) -> list[dict[str, Cell]]:
    """All cells of a benchmark's table."""
    shown = columns(rows)
    return [{name: cell(value(row)) for name, value in shown.items()} for row in rows]


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
