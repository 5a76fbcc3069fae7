"""A row of a report: values by name, None where a value is unknown."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def memory(row: Row) -> int | None:
    """Bytes that count as a row's memory: the peak of a GPU, or what is kept for backward."""
    peak, saved = row['peak_allocated_bytes'], row['saved_for_backward_bytes']
    return saved if peak is None else peak
