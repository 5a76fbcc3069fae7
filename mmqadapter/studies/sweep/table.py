"""The rows of a sweep as a reader sees them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmqadapter.studies.report.rows import memory
from mmqadapter.studies.report.table import MISSING, Cell, cell, mega
from mmqadapter.studies.sweep.rows import Row


def cells(rows: Sequence[Row], metric: str) -> list[dict[str, Cell]]:
    """All cells of a sweep's table."""
    shown: dict[str, Callable[[Row], Cell]] = {
        'method': lambda row: cell(row['method']),
        metric: _score,
        'above frozen': lambda row: _difference(row['minus_frozen']),
        'above full': lambda row: _difference(row['minus_full']),
        'above 32 bits': lambda row: _difference(row['minus_32_bits']),
        'head rate': lambda row: _rate(row['head_rate']),
        'rate': lambda row: _rate(row['rate']),
        'trains in backbone': lambda row: cell(row['trainable_backbone_params']),
        'adapters, bytes': lambda row: cell(row['adapter_bytes']),
        'task, bytes': lambda row: cell(row['task_bytes']),
        'memory, MB': lambda row: _told(mega(memory(row)), '.1f'),
        's per step': lambda row: cell(row['step_seconds']),
    }
    if any(row['note'] is not None for row in rows):
        shown['note'] = lambda row: cell(row['note'])
    return [{name: told(row) for name, told in shown.items()} for row in rows]


def tuning_cells(rows: Sequence[Row]) -> list[dict[str, Cell]]:
    """All scores on the tuning seed, as :func:`cells`."""
    return [
        {
            'method': cell(row['method']),
            'head rate': _rate(one['head_rate']),
            'rate': _rate(one['rate']),
            'score': _told(one['score'], '.2f'),
        }
        for row in rows
        for one in row['tuning']
    ]


def _score(row: Row) -> Cell:
    mean, spread = row['score_mean'], row['score_deviation']
    if mean is None or spread is None:
        return _told(mean, '.2f')
    return Cell(f'{mean:.2f} ± {spread:.2f}', mean)


def _difference(by_seed: Mapping[str, float] | None) -> Cell:
    return _told(statistics.mean(by_seed.values()) if by_seed else None, '+.2f')


def _rate(rate: Any) -> Cell:
    return _told(rate, 'g')


def _told(value: float | None, form: str) -> Cell:
    return Cell(MISSING if value is None else f'{value:{form}}', value)
