"""Columns of a benchmark's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmqadapter.studies.report.rows import Row, memory
from mmqadapter.studies.report.table import Cell, cell, mega


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
