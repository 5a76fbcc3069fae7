"""Tables of a sweep."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmqadapter.studies.report.rows import memory_bytes
from mmqadapter.studies.report.table import MISSING, Cell, cell, megabytes
from mmqadapter.studies.sweep.rows import Row


def cells(rows: Sequence[Row], metric: str) -> list[dict[str, Cell]]:
    """Return the cells of a sweep's table."""
    columns: dict[str, Callable[[Row], Cell]] = {
        'method': lambda row: cell(row['method']),
        metric: _score,
        'above frozen': lambda row: _difference(row['minus_frozen']),
        'above full': lambda row: _difference(row['minus_full']),
        'above 32 bits': lambda row: _difference(row['minus_32_bits']),
        'head rate': lambda row: _rate(row['head_rate']),
        'rate': lambda row: _rate(row['rate']),
        'trainable in backbone': lambda row: cell(row['trainable_backbone_params']),
        'adapters, bytes': lambda row: cell(row['adapter_bytes']),
        'task, bytes': lambda row: cell(row['task_bytes']),
        'memory, MB': lambda row: _number(megabytes(memory_bytes(row)), '.1f'),
        's per step': lambda row: cell(row['step_seconds']),
    }
    machines = mixed_machines(rows)
    if machines:
        columns['machine'] = lambda row: _machine_numbers(row, machines)
    if any(row['note'] is not None for row in rows):
        columns['note'] = lambda row: cell(row['note'])
    return [{heading: make(row) for heading, make in columns.items()} for row in rows]


def mixed_machines(rows: Sequence[Row]) -> list[str]:
    """Return the machines of a table whose trainings ran on different ones; else none."""
    machines = sorted({name for row in rows for name in row.get('machines') or ()})
    return machines if len(machines) > 1 else []


def _machine_numbers(row: Row, machines: Sequence[str]) -> Cell:
    return cell(', '.join(str(machines.index(name) + 1) for name in row['machines']) or None)


def tuning_cells(rows: Sequence[Row]) -> list[dict[str, Cell]]:
    """Return the cells of the table of all scores on the tuning seed."""
    return [
        {
            'method': cell(row['method']),
            'head rate': _rate(trial['head_rate']),
            'rate': _rate(trial['rate']),
            'score': _number(trial['score'], '.2f'),
        }
        for row in rows
        for trial in row['tuning']
    ]


def _score(row: Row) -> Cell:
    mean, deviation = row['score_mean'], row['score_deviation']
    if mean is None or deviation is None:
        return _number(mean, '.2f')
    return Cell(f'{mean:.2f} ± {deviation:.2f}', mean)


def _difference(by_seed: Mapping[str, float] | None) -> Cell:
    return _number(statistics.mean(by_seed.values()) if by_seed else None, '+.2f')


def _rate(rate: Any) -> Cell:
    return _number(rate, 'g')


def _number(value: float | None, spec: str) -> Cell:
    return Cell(MISSING if value is None else f'{value:{spec}}', value)
