"""Time and memory of training steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmqadapter.utils.accounting import SavedBytes, saved_for_backward
from mmqadapter.utils.model_wrapping import unwrap_model
from mmqadapter.utils.peak_memory import PeakMemory

WARM_UP = 5  # steps that medians leave out
MAX_PENDING = 500  # steps whose GPU events are held before they are read and freed
MEASURED_STEP = 1  # index of the step whose activation memory is counted: the second
PARTS = ('forward', 'backward', 'optimizer')


@dataclass(frozen=True)
class StepSeconds:
    """Seconds of one step, without data loading."""

    forward: float
    backward: float
    optimizer: float

    @property
    def step(self) -> float:
        """Seconds of the three parts together."""
        return self.forward + self.backward + self.optimizer


class StepMeter:
    """Meter of the seconds, activation memory and peak GPU memory of training steps.

    It never waits for a GPU: events on the GPU mark the times and are read later. Training is not
    changed: the hooks on the model and the optimizers only record times. Activation memory (saved
    for backward) is counted in one step and only on a CPU; on a GPU the peak is reported instead.

    Backward ends where the optimizer steps, so unscaling and clipping of gradients count as
    backward.

    Args:
        model: The model that trains, inside its wrapper (DDP, FSDP) if it has one.
        optimizers: The optimizers that step in turn; the last one ends the step.

    Attributes:
        peak: Peak memory of the GPU.
    """

    def __init__(self, model: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        self._saved: SavedBytes | None = None
        self._model = unwrap_model(model)
        self._device = next(model.parameters()).device
        self.peak = PeakMemory(self._device)
        self._times: list[Any] = []
        self._pending: list[list[Any]] = []
        self._steps: list[StepSeconds] = []
        self._begun = 0
        self._counting = ExitStack()
        self._handles = [model.register_forward_hook(self._mark_forward)]
        for optimizer in optimizers:
            self._handles += [
                optimizer.register_step_pre_hook(self._mark_backward),
                optimizer.register_step_post_hook(self._mark_optimizer),
            ]

    def begin(self) -> None:
        """Begin a step: start its clock."""
        self.peak.begin()
        if self._begun == MEASURED_STEP and self._device.type != 'cuda':
            self._saved = self._counting.enter_context(saved_for_backward(self._model))
        self._begun += 1
        self._times = [self._now()]

    def end(self) -> None:
        """End the step that ``begin`` began."""
        self._counting.close()
        self.peak.update()
        while len(self._times) <= len(PARTS):  # no optimizer stepped: gradients accumulate
            self._times.append(self._now())
        self._pending.append(self._times)
        self._times = []
        if len(self._pending) > MAX_PENDING:
            self._read_pending()

    def pause(self) -> None:
        """Leave out the memory used from now until the next step, such as that of validation."""
        self.peak.pause()

    def close(self) -> None:
        """Remove the hooks from model and optimizers; the measurements stay."""
        self._counting.close()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def steps(self) -> list[StepSeconds]:
        """Seconds of all steps so far."""
        self._read_pending()
        return self._steps

    def medians(self, last: int | None = None) -> dict[str, float | None]:
        """Return the median seconds of a step and of its parts.

        The first steps are left out as warm-up if there are others.

        Args:
            last: Number of last steps to take into account; None for all.
        """
        steps = self.steps[WARM_UP:] or self.steps
        steps = steps if last is None else steps[-last:]
        names = ('step', *PARTS)
        if not steps:
            return dict.fromkeys((f'{name}_seconds' for name in names), None)
        columns = {name: [getattr(step, name) for step in steps] for name in names}
        return {f'{name}_seconds': statistics.median(column) for name, column in columns.items()}

    def memory(self) -> dict[str, int | None]:
        """Return the activation memory of one step and the peaks of a GPU, in bytes.

        Figures that were not measured, or not yet, are None.
        """
        return {
            'saved_for_backward_bytes': self._saved.total if self._saved else None,
            'peak_allocated_bytes': self.peak.allocated,
            'peak_reserved_bytes': self.peak.reserved,
        }

    def _read_pending(self) -> None:
        pending, self._pending = self._pending, []
        self._steps += [_step_seconds(times) for times in pending]

    def _now(self) -> Any:
        if self._device.type != 'cuda':
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _mark_forward(self, *_: Any) -> None:
        if len(self._times) == 1:
            self._times.append(self._now())

    def _mark_backward(self, *_: Any) -> None:
        if len(self._times) == 2:
            self._times.append(self._now())

    def _mark_optimizer(self, *_: Any) -> None:
        self.peak.update()
        if len(self._times) > 2:  # a later optimizer of the same step overwrites the mark
            self._times[3:] = [self._now()]


def _step_seconds(times: list[Any]) -> StepSeconds:
    pairs = zip(times, times[1:], strict=False)
    if isinstance(times[0], float):
        return StepSeconds(*(after - before for before, after in pairs))
    times[-1].synchronize()
    return StepSeconds(*(before.elapsed_time(after) / 1000 for before, after in pairs))  # from ms
