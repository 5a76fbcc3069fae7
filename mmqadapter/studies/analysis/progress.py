"""Progress of a study in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar('T')


def with_progress(values: Iterable[T], title: str, count: int) -> Iterator[T]:
    """Yield ``values`` and show a progress bar on the error stream.

    Args:
        values: Values that take long to compute.
        title: Text beside the bar.
        count: Number of values.
    """
    yield from track(values, title, count, console=Console(stderr=True))
