"""Printing of the results of a data check as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmqadapter.data_checks.problem import ERROR, Problem, Scan

EXAMPLES = 5
# Each file of these kinds has to be mended or removed, so all are printed.
LISTED_IN_FULL = ('missing image', 'unreadable file')
BAR_WIDTH = 20


def print_report(scans: Sequence[Scan], problems: Sequence[Problem], console: Console) -> None:
    """Print the size of each class, the problems by kind, and a last line with their number."""
    for unit in sorted({scan.unit for scan in scans if scan.classes}):
        console.print(_class_table([scan for scan in scans if scan.unit == unit]))
    if problems:
        console.print(_problem_table(problems))
    errors = sum(problem.severity == ERROR for problem in problems)
    images = ', '.join(f'{scan.images} {scan.split}' for scan in scans)
    console.print(f'{images} images: {errors} errors, {len(problems) - errors} warnings.')


def _class_table(scans: Sequence[Scan]) -> Table:
    table = Table(title=f'Classes ({scans[0].unit})')
    table.add_column('class')
    for scan in scans:
        table.add_column(scan.split, justify='right')
    table.add_column('share of all')
    total = sum(sum(scan.counts.values()) for scan in scans) or 1
    for name in dict.fromkeys(name for scan in scans for name in scan.classes):
        counts = [scan.counts.get(name, 0) for scan in scans]
        share = sum(counts) / total
        bar = '█' * round(BAR_WIDTH * share)
        table.add_row(escape(name), *(f'{n:,}' for n in counts), f'{share:6.1%} {bar}')
    return table


def _problem_table(problems: Sequence[Problem]) -> Table:
    table = Table(title='Problems', show_lines=True)
    for column in ('severity', 'kind', 'count'):
        table.add_column(column, justify='right' if column == 'count' else 'left')
    table.add_column(f'examples (at most {EXAMPLES})', overflow='fold')
    for severity, kind, group in _by_kind(problems):
        shown = group if kind in LISTED_IN_FULL else group[:EXAMPLES]
        examples = '\n'.join(f'{item.where}: {item.message}' for item in shown)
        color = 'red' if severity == ERROR else 'yellow'
        table.add_row(f'[{color}]{severity}[/]', kind, str(len(group)), escape(examples))
    return table


def _by_kind(problems: Sequence[Problem]) -> Iterator[tuple[str, str, list[Problem]]]:
    def key(problem: Problem) -> tuple[str, str]:
        return problem.severity, problem.kind

    for (severity, kind), group in groupby(sorted(problems, key=key), key):
        yield severity, kind, list(group)
