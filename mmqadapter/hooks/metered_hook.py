"""What hooks that report the cost of training steps share."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmqadapter.hooks.step_meter import StepMeter


class MeteredHook(Hook):
    """Base of hooks that report what steps cost: it tells the meter when each begins and ends.

    It runs last before a step, so that the work of other hooks is not counted.

    Attributes:
        meter: Of the runner, once training begins.
    """

    priority = 'LOWEST'
    meter: StepMeter

    def before_train(self, runner: Runner) -> None:
        """Start to measure."""
        self.meter = StepMeter.of(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """A step begins."""
        self.meter.begin()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """The step has ended."""
        self.meter.end()

    def before_val(self, runner: Runner) -> None:
        """Leave out what validation costs."""
        StepMeter.leave(runner)

    def after_train(self, runner: Runner) -> None:
        """Stop to measure."""
        self.meter.close()
