"""Error texts for messages, and escaping for the terminal."""

from __future__ import annotations

import pytest

from mmqadapter.utils.text import one_line, printable


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
