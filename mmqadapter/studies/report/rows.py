"""Rows of a report: values by name, None where a value is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]
MEMORY_LABELS = {
    'saved for backward': 'activation memory (saved for backward)',
    'peak allocated': 'peak allocated memory',
}


def memory_bytes(row: Row) -> int | None:
    """Return the memory of a row in bytes: the peak on a GPU, else the activation memory."""
    peak, saved = row['peak_allocated_bytes'], row['saved_for_backward_bytes']
    return saved if peak is None else peak


def memory_label(header: Mapping[str, Any]) -> str:
    """Return the name of the memory that :func:`memory_bytes` counts, for axes and legends."""
    return MEMORY_LABELS.get(header['memory'], header['memory'])
