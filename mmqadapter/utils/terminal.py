"""Printing to a terminal: control characters within the text are shown, not obeyed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from mmqadapter.utils.text import printable

LAYOUT = '\n\t'


def print_line(text: str, file: TextIO | None = None) -> None:
    """Print one line, to stdout unless ``file`` is given; a line break in ``text`` is escaped."""
    print(printable(text), file=file)


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an uncaught error to stderr; takes the place of ``sys.excepthook``."""
    lines = traceback.format_exception(kind, error, trace)
    print(printable(''.join(lines), LAYOUT), end='', file=sys.stderr)


class SafeConsole(Console):
    """Console of rich that escapes the control characters in all text that it renders.

    The codes with which rich itself colors text and moves the cursor are not text to it.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape a string before its markup is read and its width is measured."""
        return super().render_str(printable(text, LAYOUT), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Escape a ``Text``, which no longer passes through :meth:`render_str`."""
        if isinstance(renderable, Text):
            renderable = _escaped(renderable)
        return super().render(renderable, options)


def _escaped(text: Text) -> Text:
    plain = printable(text.plain, LAYOUT)
    if plain == text.plain:
        return text
    return text.blank_copy(plain)  # without the styles of its parts, whose positions changed
