"""How a study gets on, in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar('T')


def shown(values: Iterable[T], title: str, count: int) -> Iterator[T]:
    """``values`` as they come, with a bar on the error stream.

    Args:
        values: What takes long.
        title: What it is.
        count: How many there will be.
    """
    yield from track(values, title, count, console=Console(stderr=True))
