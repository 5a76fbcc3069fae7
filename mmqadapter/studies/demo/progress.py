"""A bar on the console for a run whose words go to a log file."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.progress import Progress


class ProgressHook(Hook):
    """Moves a bar by one a training step.

    Args:
        bar: Where the bar is shown.
        words: What stands beside it.
    """

    priority = 'LOWEST'

    def __init__(self, bar: Progress, words: str) -> None:
        self.bar, self.words = bar, words

    def before_train(self, runner: Runner) -> None:
        """Show the bar."""
        self.task = self.bar.add_task(self.words, total=runner.max_iters)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move it."""
        self.bar.advance(self.task)
