"""What an error of another library says, fit to stand in a message of ours."""

from __future__ import annotations


def one_line(error: BaseException, length: int = 300) -> str:
    """The text of ``error`` on one line, cut to ``length`` characters.

    It may quote a file of a stranger: what a terminal would take for a command is escaped.
    """
    shown = printable(' '.join(str(error).split()))
    return shown if len(shown) <= length else f'{shown[:length]} ...'


def printable(text: str) -> str:
    """``text`` with everything escaped that a terminal would take for a command."""
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
