"""Error texts for messages, and escaping for the terminal."""

from __future__ import annotations

import pytest

from mmqadapter.utils.text import one_line, printable, root_cause


def test_one_line_joins_the_lines_and_cuts_the_end() -> None:
    assert one_line(ValueError(' two\n\n  lines\t')) == 'two lines'
    assert one_line(ValueError('x' * 9), length=8) == 'xxxxxxxx ...'
    assert one_line(ValueError('x' * 8), length=8) == 'xxxxxxxx'


def test_one_line_escapes_nothing() -> None:
    assert one_line(ValueError('a\x1b[2Jb')) == 'a\x1b[2Jb'


@pytest.mark.parametrize(
    ('text', 'escaped'),
    [
        ('\x1b[2J', '\\x1b[2J'),
        ('\x9b2J', '\\x9b2J'),  # one-byte form of the same sequence
        ('a\rb\n', 'a\\rb\\n'),
        ('\u202eabc', '\\u202eabc'),  # right to left
        ('\ud800', '\\ud800'),
        ('Straße 街 \\x1b', 'Straße 街 \\x1b'),
    ],
)
def test_printable(text: str, escaped: str) -> None:
    assert printable(text) == escaped and printable(text).isprintable()


def test_layout_stays() -> None:
    assert printable('a\n\tb\x07', layout='\n\t') == 'a\n\tb\\x07'


def test_an_error_without_text_is_shown_by_its_type() -> None:
    assert one_line(AssertionError()) == 'AssertionError()'


def test_the_root_cause_is_at_the_end_of_the_chain() -> None:
    first, second, third = ValueError('a'), KeyError('b'), RuntimeError('c')
    third.__cause__, second.__cause__ = second, first
    assert root_cause(third) is first and root_cause(first) is first
