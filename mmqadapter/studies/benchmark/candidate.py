"""Method under measurement: its model, and what its rounds on the device cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from mmqadapter.quant import quantized_weights
from mmqadapter.studies.benchmark.memory import is_out_of_memory, peaks, reset_peak, restore
from mmqadapter.studies.benchmark.methods import Method
from mmqadapter.studies.benchmark.sizes import Sizes
from mmqadapter.studies.benchmark.training import Training
from mmqadapter.utils.live_bytes import counts_live_bytes
from mmqadapter.utils.step_meter import StepSeconds

OUT_OF_MEMORY = 'out of memory'


@dataclass(frozen=True)
class Round:
    """Consecutive steps of one method.

    Attributes:
        warm_up: Steps before the measured ones.
        steps: Measured steps.
        frees_device: Whether the model moves to the CPU after the round.
    """

    warm_up: int
    steps: int
    frees_device: bool


class Candidate:
    """Method with its model and measurements.

    Args:
        method: Method to measure.
        model: Model of the method; it is on the CPU before the first round and after a round that
            frees the device.
        sizes: Sizes of the model.

    Attributes:
        seconds: Times of each measured step so far.
        saved_bytes: Activation memory (saved for backward); None until it is measured.
        live_bytes: Peak of the bytes of living tensors in a step; None until it is measured, and
            with PyTorch before 2.6.
        peak_bytes: Peaks of allocated and reserved bytes over all rounds; None on a CPU.
        note: Reason why there are no measurements; None if there are.
        max_batch: Largest batch, in images, within a memory limit; None unless it was searched.
    """

    def __init__(self, method: Method, model: nn.Module, sizes: Sizes) -> None:
        self.method, self.model, self.sizes = method, model, sizes
        self.seconds: list[StepSeconds] = []
        self.saved_bytes: int | None = None
        self.live_bytes: int | None = None
        self.peak_bytes: tuple[int, int] | None = None
        self.note: str | None = None
        self.max_batch: int | None = None
        self._training: Training | None = None

    def measure(self, current_round: Round, start: Callable[[nn.Module], Training]) -> None:
        """Measure the steps of a round; a method that ran out of memory before is skipped.

        Args:
            current_round: Round to measure.
            start: Function that moves the model to the device and returns its training.
        """
        if self.note is not None:
            return
        try:
            self._training = self._training or start(self.model)
            self._measure(current_round, self._training)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.note = OUT_OF_MEMORY
        # Outside the handler, where the error no longer references tensors of the failed step.
        if current_round.frees_device or self.note is not None:
            self.free_device()

    def free_device(self) -> None:
        """Move the model to the CPU and release all its memory on the device."""
        devices = {p.device for p in self.model.parameters()}
        self._training = None
        self.model.zero_grad(set_to_none=True)
        for _, quantizer, _ in quantized_weights(self.model):
            quantizer.cached.clear()  # module.to does not move these tensors
        self.model.to('cpu')
        for device in devices:
            restore(device)

    def _measure(self, current_round: Round, training: Training) -> None:
        if self.saved_bytes is None:
            self.saved_bytes = training.saved_bytes()
        for _ in range(current_round.warm_up):
            training.step()
        reset_peak(training.device)
        self.seconds += [training.step() for _ in range(current_round.steps)]
        self._update_peaks(training.device)
        # After a step, which makes the optimizer's state.
        if self.live_bytes is None and counts_live_bytes():
            self.live_bytes = training.peak_live_bytes()

    def _update_peaks(self, device: torch.device) -> None:
        new, old = peaks(device), self.peak_bytes or (0, 0)
        if new is not None:
            self.peak_bytes = max(new[0], old[0]), max(new[1], old[1])
