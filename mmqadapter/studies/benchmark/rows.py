"""Rows of the report: what was measured, and what follows from it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict

from mmqadapter.studies.benchmark.candidate import Candidate
from mmqadapter.studies.report.rows import Row, memory


def make_rows(candidates: Sequence[Candidate]) -> list[Row]:
    """One row a method with what is known so far; what is not is None.

    ``memory_saving`` and ``time_saving`` are shares of full fine-tuning. ``backbone_cost_left_*``
    is (method - frozen) / (full - frozen): neck and head cost the same in all methods and hide
    what differs. Both need ``full``, the latter ``frozen`` too, among the methods.
    """
    rows = [_measured(candidate) for candidate in candidates]
    by_method = {row['method']: row for row in rows}
    full, frozen = by_method.get('full'), by_method.get('frozen')
    for row in rows:
        for kind, value in (('memory', memory), ('time', _seconds)):
            whole, base, own = (value(one) if one else None for one in (full, frozen, row))
            row[f'{kind}_saving'] = _saving(own, whole)
            row[f'backbone_cost_left_{kind}'] = _cost_left(own, base, whole)
    return rows


def _seconds(row: Row) -> float | None:
    return row['step_seconds']


def _measured(candidate: Candidate) -> Row:
    failed = candidate.note is not None
    allocated, reserved = (None, None) if failed else candidate.peak_bytes or (None, None)
    row: Row = {
        'method': candidate.method.name,
        'bits': candidate.method.bits,
        **asdict(candidate.sizes),
        'saved_for_backward_bytes': None if failed else candidate.saved_bytes,
        'peak_allocated_bytes': allocated,
        'peak_reserved_bytes': reserved,
        'note': candidate.note,
        'max_batch': candidate.max_batch,
    }
    steps = [] if failed else candidate.seconds
    for part in ('step', 'forward', 'backward', 'optimizer'):
        values = [getattr(seconds, part) for seconds in steps]
        row[f'{part}_seconds'] = statistics.median(values) if values else None
    return row


def _saving(own: float | None, full: float | None) -> float | None:
    return None if own is None or not full else 1 - own / full


def _cost_left(own: float | None, frozen: float | None, full: float | None) -> float | None:
    if own is None or frozen is None or full is None or full == frozen:
        return None
    return (own - frozen) / (full - frozen)
