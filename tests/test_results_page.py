"""The tables of README, docs/results.md and docs/memory.md are those of the reports."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
script = runpy.run_path(str(ROOT / 'benchmarks/results_page.py'))


@pytest.mark.parametrize('name', ['docs/results.md', 'docs/memory.md', 'README.md'])
def test_tables_are_those_of_the_reports(name: str) -> None:
    page = (ROOT / name).read_text('utf-8')
    assert '<!-- table: ' in page
    assert script['filled'](page) == page


def test_a_changed_figure_is_noticed() -> None:
    page = (ROOT / 'docs/results.md').read_text('utf-8')
    assert '5,524,416' in page
    assert script['filled'](page.replace('5,524,416', '5,524,417')) == page
