"""Rows of a benchmark's report: measured values and ratios of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict

from mmqadapter.studies.benchmark.candidate import Candidate
from mmqadapter.studies.report.rows import Row, memory_bytes


def make_rows(candidates: Sequence[Candidate]) -> list[Row]:
    """Return a row for each method; values that are not known yet are None.

    ``memory_saving`` and ``time_saving`` are fractions of full fine-tuning.
    ``backbone_cost_left_memory`` and ``..._time`` are (method - frozen) / (full - frozen), which
    leaves out the cost of neck and head that all methods share. All need ``full`` among the
    methods, the latter two ``frozen`` as well.
    """
    rows = [_measured(candidate) for candidate in candidates]
    by_method = {row['method']: row for row in rows}
    full, frozen = by_method.get('full'), by_method.get('frozen')
    for row in rows:
        for kind, cost in (('memory', memory_bytes), ('time', _seconds)):
            costs = [cost(source) if source else None for source in (row, frozen, full)]
            row[f'{kind}_saving'] = _saving(costs[0], costs[2])
            row[f'backbone_cost_left_{kind}'] = _cost_left(*costs)
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
        'peak_live_bytes': None if failed else candidate.live_bytes,
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


def _saving(cost: float | None, full: float | None) -> float | None:
    return None if cost is None or not full else 1 - cost / full


def _cost_left(cost: float | None, frozen: float | None, full: float | None) -> float | None:
    if cost is None or frozen is None or full is None or full == frozen:
        return None
    return (cost - frozen) / (full - frozen)
