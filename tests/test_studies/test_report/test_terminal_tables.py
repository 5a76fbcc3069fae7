"""Tables that fit the terminal: headings break between words, never within one."""

from __future__ import annotations

import pytest
from rich.console import Console

from mmqadapter.cli import fits
from mmqadapter.studies.fits.report import cells
from mmqadapter.studies.report.table import terminal_tables

METHODS = fits.METHODS.split(',')
NEEDS = dict(needed_bytes=12345678901, max_batch=256, max_batch_ddp=128)


@pytest.mark.parametrize(('width', 'count'), [(160, 1), (80, 3), (40, 8)])
def test_all_words_and_values_are_whole_at_any_width(width: int, count: int) -> None:
    rows = [
        dict(method=name, bits=32, trained_bytes=10**8, float32=NEEDS, amp=NEEDS)
        for name in METHODS
    ]
    tables = list(terminal_tables(cells(rows, 2), 'title', width))
    assert len(tables) == count
    console = Console(width=width)
    with console.capture() as capture:
        for table in tables:
            console.print(table)
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    for word in (*METHODS, 'float32:', 'trains,', 'largest', 'batch', 'DDP', '12.3'):
        assert word in text
