"""Seconds and bytes of training steps, measured once for all hooks that report them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from mmqadapter.hooks.peak_memory import PeakMemory
from mmqadapter.utils.accounting import SavedBytes, saved_for_backward

WARM_UP = 5
UNREAD = 500  # steps whose moments may wait to be read: events of a GPU are not for free
MEASURED_STEP = 1  # in which bytes are counted: the second
PARTS = ('forward', 'backward', 'optimizer')


@dataclass(frozen=True)
class StepSeconds:
    """Seconds of one step, data loading left out."""

    forward: float
    backward: float
    optimizer: float

    @property
    def step(self) -> float:
        """All three."""
        return self.forward + self.backward + self.optimizer


class StepMeter:
    """Measures the training steps of a runner; all hooks of the runner share one.

    Nothing waits for a GPU: its own clock stamps the moments, and they are read when asked for.
    Training is not changed: hooks of the model and of the optimiser note the time alone. Bytes
    kept for backward are counted in one step, and on a CPU alone; a GPU tells its peak.

    Args:
        runner: Its model and its optimiser have to be there (``before_train``).

    Attributes:
        saved: What autograd kept in the measured step; None before it and on a GPU.
        peak: Of a GPU's memory.
    """

    def __init__(self, runner: Runner) -> None:
        model = runner.model
        self.saved: SavedBytes | None = None
        self._model: nn.Module = model.module if is_model_wrapper(model) else model
        self._device = next(model.parameters()).device
        self.peak = PeakMemory(self._device)
        self._moments: list[Any] = []
        self._pending: list[list[Any]] = []
        self._steps: list[StepSeconds] = []
        self._begun = 0
        self._measuring = ExitStack()
        self._handles = [model.register_forward_hook(self._note_forward)]
        for optimizer in _optimizers(runner):
            self._handles += [
                optimizer.register_step_pre_hook(self._note_backward),
                optimizer.register_step_post_hook(self._note_optimizer),
            ]

    @classmethod
    def of(cls, runner: Runner) -> StepMeter:
        """The meter of ``runner``."""
        if runner not in _METERS:
            _METERS[runner] = cls(runner)
        return _METERS[runner]

    @staticmethod
    def leave(runner: Runner) -> None:
        """``runner`` validates now, which does not count."""
        if runner in _METERS:
            _METERS[runner].peak.leave()

    def begin(self) -> None:
        """A step begins; the second hook that says so is not heard."""
        if self._moments:
            return
        self.peak.begin()
        if self._begun == MEASURED_STEP and self._device.type != 'cuda':
            self.saved = self._measuring.enter_context(saved_for_backward(self._model))
        self._begun += 1
        self._moments = [self._now()]

    def end(self) -> None:
        """The step has ended."""
        if not self._moments:
            return
        self._measuring.close()
        self.peak.note()
        while len(self._moments) <= len(PARTS):  # no optimiser stepped: gradients accumulate
            self._moments.append(self._now())
        self._pending.append(self._moments)
        self._moments = []
        if len(self._pending) > UNREAD:
            _ = self.steps

    def close(self) -> None:
        """Leave model and optimiser; what was measured stays."""
        self._measuring.close()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def steps(self) -> list[StepSeconds]:
        """All steps so far."""
        pending, self._pending = self._pending, []
        self._steps += [_seconds(moments) for moments in pending]
        return self._steps

    def medians(self, last: int | None = None) -> dict[str, float | None]:
        """Median seconds of a step and of its parts, without the warm-up where there is more.

        Args:
            last: Of so many last steps; of all if None.
        """
        counted = self.steps[WARM_UP:] or self.steps
        counted = counted if last is None else counted[-last:]
        names = ('step', *PARTS)
        if not counted:
            return dict.fromkeys((f'{name}_seconds' for name in names), None)
        columns = {name: [getattr(step, name) for step in counted] for name in names}
        return {f'{name}_seconds': statistics.median(column) for name, column in columns.items()}

    def memory(self) -> dict[str, int | None]:
        """Bytes kept for backward in one step, and peaks of a GPU; None where not known."""
        return {
            'saved_for_backward_bytes': self.saved.total if self.saved else None,
            'peak_allocated_bytes': self.peak.allocated,
            'peak_reserved_bytes': self.peak.reserved,
        }

    def _now(self) -> Any:
        if self._device.type != 'cuda':
            return time.perf_counter()
        moment = torch.cuda.Event(enable_timing=True)
        moment.record(torch.cuda.current_stream(self._device))
        return moment

    def _note_forward(self, *_: Any) -> None:
        if len(self._moments) == 1:
            self._moments.append(self._now())

    def _note_backward(self, *_: Any) -> None:
        if len(self._moments) == 2:
            self._moments.append(self._now())

    def _note_optimizer(self, *_: Any) -> None:
        self.peak.note()
        if len(self._moments) > 2:  # of several optimisers the last one counts
            self._moments[3:] = [self._now()]


_METERS: WeakKeyDictionary[Runner, StepMeter] = WeakKeyDictionary()


def _optimizers(runner: Runner) -> Iterator[torch.optim.Optimizer]:
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    for one in wrappers:
        if isinstance(one.optimizer, torch.optim.Optimizer):
            yield one.optimizer


def _seconds(moments: list[Any]) -> StepSeconds:
    if isinstance(moments[0], float):
        spans = [after - before for before, after in zip(moments, moments[1:], strict=False)]
    else:
        moments[-1].synchronize()
        pairs = zip(moments, moments[1:], strict=False)
        spans = [before.elapsed_time(after) / 1000 for before, after in pairs]  # from ms
    return StepSeconds(*spans)
