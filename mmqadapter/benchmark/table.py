"""The rows as a reader sees them: cells of text, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table

from mmqadapter.benchmark.rows import Row, memory

MEGA = 1e6
MISSING = '-'


def columns(rows: Sequence[Row]) -> dict[str, Callable[[Row], Any]]:
    """What is shown of each row, by the words above it; numbers in the units that these say."""
    shown: dict[str, Callable[[Row], Any]] = {
        'method': lambda row: row['method'],
        'bits': lambda row: row['bits'],
        'trains in backbone': lambda row: row['trainable_backbone_params'],
        'adapters, bytes': lambda row: row['adapter_bytes'],
        'task, bytes': lambda row: row['task_bytes'],
        'memory, MB': lambda row: _mega(memory(row)),
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


def cell(value: Any) -> str:
    """A value as text: whole numbers in groups of three, others with three digits or more."""
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3f}'
    return f'{value:,}' if isinstance(value, int) else str(value)


def cells(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Text of all cells, a dict a row, by the words above them."""
    shown = columns(rows)
    return [{name: cell(value(row)) for name, value in shown.items()} for row in rows]


def terminal_table(rows: Sequence[Row], title: str) -> Table:
    """Table for rich; numbers are never cut short."""
    table = Table(title=title)
    for name in columns(rows):
        side: JustifyMethod = 'left' if name in ('method', 'note') else 'right'
        table.add_column(name, justify=side, overflow='fold')
    for row in cells(rows):
        table.add_row(*row.values())
    return table


def markdown_table(rows: Sequence[Row]) -> str:
    """The same table in Markdown."""
    names = list(columns(rows))
    lines = [names, ['---'] * len(names), *(list(row.values()) for row in cells(rows))]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _mega(count: int | None) -> float | None:
    return None if count is None else count / MEGA
