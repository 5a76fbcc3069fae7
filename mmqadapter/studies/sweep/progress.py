"""Progress of a sweep in the terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn

from mmqadapter.studies.sweep.outcome import Outcome


class SweepProgress:
    """Context manager that shows a bar for each group of trainings and a line for each result.

    Args:
        console: Console to print to.
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
        """Add a bar for a group of trainings."""
        self._current = self._bars.add_task(title, total=count)

    def ended(self, outcome: Outcome) -> None:
        """Advance the bar and print the result."""
        assert self._current is not None
        self._bars.console.print(f'{escape(outcome.training.name)}: {_result_text(outcome)}')
        self._bars.advance(self._current)


def _result_text(outcome: Outcome) -> str:
    if outcome.result is None:
        return f'[red]failed[/], see {escape(str(outcome.log))}'
    if math.isfinite(outcome.score):
        return f'{outcome.score:.2f}'
    return f'{outcome.result["step_seconds"]} s per step'
