"""The rows of a sweep as a reader sees them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table

from mmqadapter.benchmark.table import MEGA, MISSING, cell
from mmqadapter.sweep.rows import Row


def cells(rows: Sequence[Row], metric: str) -> list[dict[str, str]]:
    """Text of all cells, a dict a row, by the words above them."""
    shown: dict[str, Callable[[Row], str]] = {
        'method': lambda row: row['method'],
        metric: _score,
        'above frozen': lambda row: _difference(row['minus_frozen']),
        'above full': lambda row: _difference(row['minus_full']),
        'above 32 bits': lambda row: _difference(row['minus_32_bits']),
        'head rate': lambda row: _rate(row['head_rate']),
        'rate': lambda row: _rate(row['rate']),
        'trains in backbone': lambda row: cell(row['trainable_backbone_params']),
        'adapters, bytes': lambda row: cell(row['adapter_bytes']),
        'task, bytes': lambda row: cell(row['task_bytes']),
        'saved for backward, MB': lambda row: _mega(row['saved_for_backward_bytes']),
        's per step': lambda row: cell(row['step_seconds']),
    }
    if any(row['note'] is not None for row in rows):
        shown['note'] = lambda row: cell(row['note'])
    return [{name: told(row) for name, told in shown.items()} for row in rows]


def terminal_table(rows: Sequence[Row], metric: str, title: str) -> Table:
    """Table for rich; numbers are never cut short."""
    table = Table(title=title)
    lines = cells(rows, metric)
    for name in lines[0]:
        side: JustifyMethod = 'left' if name in ('method', 'note') else 'right'
        table.add_column(name, justify=side, overflow='fold')
    for line in lines:
        table.add_row(*line.values())
    return table


def markdown_table(lines: Sequence[Mapping[str, str]]) -> str:
    """Lines of equal keys in Markdown."""
    names = list(lines[0])
    texts = [names, ['---'] * len(names), *(list(line.values()) for line in lines)]
    return ''.join(f'| {" | ".join(one)} |\n' for one in texts)


def tuning_cells(rows: Sequence[Row]) -> list[dict[str, str]]:
    """All scores on the tuning seed, as :func:`cells`."""
    return [
        {
            'method': row['method'],
            'head rate': _rate(one['head_rate']),
            'rate': _rate(one['rate']),
            'score': MISSING if one['score'] is None else f'{one["score"]:.2f}',
        }
        for row in rows
        for one in row['tuning']
    ]


def _score(row: Row) -> str:
    if row['score_mean'] is None:
        return MISSING
    spread = row['score_deviation']
    return f'{row["score_mean"]:.2f}' + ('' if spread is None else f' ± {spread:.2f}')


def _difference(by_seed: Mapping[str, float] | None) -> str:
    return f'{statistics.mean(by_seed.values()):+.2f}' if by_seed else MISSING


def _rate(rate: Any) -> str:
    return MISSING if rate is None else f'{rate:g}'


def _mega(count: int | None) -> str:
    return MISSING if count is None else f'{count / MEGA:.1f}'
