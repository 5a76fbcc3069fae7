"""Hooks that make a training slow or send it signals, for the tests of stopping."""

from __future__ import annotations

import os
import threading
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


@HOOKS.register_module(force=True)
class StuckFirstBatch(Hook):
    """Hook that sends this process a signal and waits in the first step, as for a huge batch."""

    priority = 'LOWEST'

    def __init__(self, number: int, seconds: float) -> None:
        self.number, self.seconds = number, seconds

    def before_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        threading.Timer(0.2, os.kill, (os.getpid(), self.number)).start()
        try:
            time.sleep(self.seconds)
        except Exception:  # as code around the loading of data does
            time.sleep(self.seconds)
