"""How a sweep gets on, in the terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn

from mmqadapter.studies.sweep.outcome import Outcome


class SweepProgress:
    """A bar for each group of trainings, and a line for each training that has ended.

    Use it as a context.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console)
        self._current: TaskID | None = None

    def __enter__(self) -> SweepProgress:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def begin(self, title: str, count: int) -> None:
        """Add a bar."""
        self._current = self._bars.add_task(title, total=count)

    def ended(self, outcome: Outcome) -> None:
        """Advance the bar and say what came out."""
        assert self._current is not None
        self._bars.console.print(f'{escape(outcome.training.name)}: {_told(outcome)}')
        self._bars.advance(self._current)


def _told(outcome: Outcome) -> str:
    if outcome.result is None:
        return f'[red]failed[/], {escape(str(outcome.log))}'
    if math.isfinite(outcome.score):
        return f'{outcome.score:.2f}'
    return f'{outcome.result["step_seconds"]} s per step'
