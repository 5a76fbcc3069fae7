"""Table of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmqadapter.studies.report.rows import Row, memory_bytes
from mmqadapter.studies.report.table import Cell, cell, megabytes


def columns(rows: Sequence[Row]) -> dict[str, Callable[[Row], Any]]:
    """Return functions from a row to a value, by column heading with the unit."""
    values: dict[str, Callable[[Row], Any]] = {
        'method': lambda row: row['method'],
        'bits': lambda row: row['bits'],
        'trainable in backbone': lambda row: row['trainable_backbone_params'],
        'adapters, bytes': lambda row: row['adapter_bytes'],
        'task, bytes': lambda row: row['task_bytes'],
        'memory, MB': lambda row: megabytes(memory_bytes(row)),
        'memory saved': lambda row: row['memory_saving'],
        's per step': lambda row: row['step_seconds'],
        'forward': lambda row: row['forward_seconds'],
        'backward': lambda row: row['backward_seconds'],
        'optimizer': lambda row: row['optimizer_seconds'],
        'time saved': lambda row: row['time_saving'],
        'memory cost left': lambda row: row['backbone_cost_left_memory'],
        'time cost left': lambda row: row['backbone_cost_left_time'],
    }
    if any(row.get('peak_live_bytes') for row in rows):
        values['peak of tensors, MB'] = lambda row: megabytes(row['peak_live_bytes'])
    if any(row['max_batch'] is not None for row in rows):
        values['max batch'] = lambda row: row['max_batch']
    if any(row['note'] is not None for row in rows):
        values['note'] = lambda row: row['note']
    return values


def cells(rows: Sequence[Row]) -> list[dict[str, Cell]]:
    """Return the cells of a benchmark's table."""
    values = columns(rows)
    return [{heading: cell(value(row)) for heading, value in values.items()} for row in rows]
