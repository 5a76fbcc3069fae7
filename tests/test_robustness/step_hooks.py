"""Hooks that make a training slow or send it signals, for the tests of stopping."""

from __future__ import annotations

import os
import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)
class SlowStep(Hook):
    """Hook that waits in the second step, as a large model computes."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        if runner.iter == 1:
            time.sleep(self.seconds)


@HOOKS.register_module(force=True)
class SelfSignal(Hook):
    """Hook that sends this process a signal, in a step or in the validation after it."""

    def __init__(self, number: int, step: int, in_validation: bool = False) -> None:
        self.number, self.step, self.in_validation = number, step, in_validation

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        if runner.iter + 1 == self.step and not self.in_validation:
            os.kill(os.getpid(), self.number)

    def after_val_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        if runner.iter == self.step and self.in_validation:
            os.kill(os.getpid(), self.number)
