"""Text for messages: error texts on one line, control characters escaped for the terminal."""

from __future__ import annotations


def one_line(error: BaseException, length: int = 300) -> str:
    """Return the text of ``error`` on one line, cut to ``length`` characters.

    An error without a text is shown by its type.

    It is plain text for a message: whoever prints the message to a terminal escapes it, see
    :mod:`mmqadapter.utils.terminal`.
    """
    text = ' '.join(str(error).split()) or repr(error)
    return text if len(text) <= length else f'{text[:length]} ...'


def root_cause(error: BaseException) -> BaseException:
    """Return the error that caused ``error``, at the end of its chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def printable(text: str, layout: str = '') -> str:
    """Return ``text`` with every unprintable character escaped, as Python's ``repr`` does it.

    Text may quote a stranger's file; a terminal would obey the control characters in it.

    Args:
        text: Text to print.
        layout: Characters that stay as they are, such as line breaks.
    """
    return ''.join(c if c.isprintable() or c in layout else ascii(c)[1:-1] for c in text)
