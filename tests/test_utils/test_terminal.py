"""Text reaches a terminal without control characters; rich's own codes do."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from mmqadapter.utils.terminal import SafeConsole, print_line, print_traceback

HOSTILE = 'a\x1b[2Jb\x9bc\u202ed'
SHOWN = 'a\\x1b[2Jb\\x9bc\\u202ed'


def _table(cell: str | Text) -> Table:
    table = Table('plain', title=cell)
    table.add_column(cell)
    table.add_row('x', cell)
    return table


def _progress(console: SafeConsole) -> None:
    with Progress(console=console) as progress:
        progress.add_task(HOSTILE, total=1)


def _live(console: SafeConsole) -> None:
    with Live(_table(HOSTILE), console=console, auto_refresh=False):
        pass


PRINTERS: dict[str, Callable[[SafeConsole], None]] = {
    'string': lambda console: console.print(HOSTILE),
    'without markup': lambda console: console.print(HOSTILE, markup=False),
    'Text': lambda console: console.print('x', Text(HOSTILE)),
    'styled Text': lambda console: console.print(Text.assemble(('x', 'red'), HOSTILE)),
    'table of strings': lambda console: console.print(_table(HOSTILE)),
    'table of Text': lambda console: console.print(_table(Text(HOSTILE))),
    'nested': lambda console: console.print(Panel(Group(HOSTILE, Text(HOSTILE)), title=HOSTILE)),
    'progress': _progress,
    'live': _live,
}


@pytest.mark.parametrize('printer', PRINTERS)
def test_a_console_escapes_all_text(printer: str) -> None:
    page = io.StringIO()
    PRINTERS[printer](SafeConsole(file=page, width=200, force_terminal=False))
    assert 'a\\x1b' in page.getvalue()  # a cell may be too narrow for all of it
    assert page.getvalue().replace('\n', '').isprintable()


def test_a_console_keeps_its_own_codes_and_line_breaks() -> None:
    page = io.StringIO()
    console = SafeConsole(file=page, force_terminal=True, color_system='standard', width=80)
    console.print(f'[red]{HOSTILE}[/]\nnext', highlight=False)
    assert page.getvalue() == f'\x1b[31m{SHOWN}\x1b[0m\nnext\n'


def test_columns_are_as_wide_as_the_escaped_text() -> None:
    page = io.StringIO()
    SafeConsole(file=page, width=200).print(_table(HOSTILE))
    widths = {len(line) for line in page.getvalue().splitlines()[1:]}
    assert len(widths) == 1


def test_a_line_is_one_line(capsys) -> None:
    print_line('a\nb\x1b[2J')
    print_line('c\r', sys.stderr)
    printed = capsys.readouterr()
    assert printed.out == 'a\\nb\\x1b[2J\n' and printed.err == 'c\\r\n'


def test_a_traceback_is_escaped_with_its_causes(capsys) -> None:
    try:
        try:
            raise RuntimeError(HOSTILE)
        except RuntimeError as error:
            raise ValueError('outer\x1b[2J') from error
    except ValueError as error:
        print_traceback(type(error), error, error.__traceback__)
    printed = capsys.readouterr().err
    assert f'RuntimeError: {SHOWN}' in printed and 'ValueError: outer\\x1b[2J' in printed
    assert printed.startswith('Traceback') and printed.replace('\n', '').isprintable()
