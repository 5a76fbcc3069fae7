"""Progress bar on the console, for a training whose output goes to a log file."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.progress import Progress


class ProgressHook(Hook):
    """Hook that advances a progress bar by one per training step.

    Args:
        bar: Progress display to which the bar is added.
        label: Text beside the bar.
    """

    priority = 'LOWEST'

    def __init__(self, bar: Progress, label: str) -> None:
        self.bar, self.label = bar, label

    def before_train(self, runner: Runner) -> None:
        """Show the bar."""
        self.task = self.bar.add_task(self.label, total=runner.max_iters)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Advance the bar."""
        self.bar.advance(self.task)
