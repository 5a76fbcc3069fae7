"""What an error of another library says, fit to stand in a message of ours."""

from __future__ import annotations


def one_line(error: BaseException, length: int = 300) -> str:
    """The text of ``error`` on one line, cut to ``length`` characters.

    It may quote a file of a stranger: what a terminal would take for a command is escaped.
    """
    line = ' '.join(str(error).split())
    shown = ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return shown if len(shown) <= length else f'{shown[:length]} ...'
