"""Rows of a report: values by name, None where a value is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]
# Names of the kinds of memory in headers.
MEMORY_NAMES = {'saved for backward': 'activation memory', 'peak allocated': 'GPU memory'}


def memory_bytes(row: Row) -> int | None:
    """Return the memory of a row in bytes: the peak on a GPU, else the activation memory."""
    peak, saved = row['peak_allocated_bytes'], row['saved_for_backward_bytes']
    return saved if peak is None else peak


def memory_name(header: Mapping[str, Any]) -> str:
    """Return the name of the memory that :func:`memory_bytes` counts."""
    return MEMORY_NAMES[header['memory']]


def memory_definition(header: Mapping[str, Any]) -> str:
    """Return the name of the memory that is counted and what it is."""
    return f'{memory_name(header)} ({header["memory"]})'
