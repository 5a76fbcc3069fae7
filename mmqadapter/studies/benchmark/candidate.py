"""A method under measurement: its model, its turns on the device, and what they cost."""

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
from mmqadapter.utils.step_meter import StepSeconds

OUT_OF_MEMORY = 'out of memory'


@dataclass(frozen=True)
class Round:
    """One turn of a method on the device.

    Attributes:
        warm_up: Steps that do not count.
        steps: Steps that do.
        leaves: Whether the method leaves the device afterwards.
    """

    warm_up: int
    steps: int
    leaves: bool


class Candidate:
    """A method with its model, which is on the CPU between turns that it leaves after.

    Args:
        method: The method.
        model: Its model.
        sizes: Of that model.

    Attributes:
        seconds: Of each measured step so far.
        saved_bytes: Kept for backward; None until it is measured.
        peak_bytes: Allocated and reserved at most over all turns; None on a CPU.
        note: Why there are no measurements, where there are none.
        max_batch: Images that train within a stated memory; None unless it was searched.
    """

    def __init__(self, method: Method, model: nn.Module, sizes: Sizes) -> None:
        self.method, self.model, self.sizes = method, model, sizes
        self.seconds: list[StepSeconds] = []
        self.saved_bytes: int | None = None
        self.peak_bytes: tuple[int, int] | None = None
        self.note: str | None = None
        self.max_batch: int | None = None
        self._training: Training | None = None

    def measure(self, round_: Round, start: Callable[[nn.Module], Training]) -> None:
        """Measure some steps; a method that ran out of memory takes no further turn.

        Args:
            round_: How many steps.
            start: Brings the model to the device.
        """
        if self.note is not None:
            return
        try:
            self._training = self._training or start(self.model)
            self._measure(round_, self._training)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.note = OUT_OF_MEMORY
        # Out of the handler: the error no longer holds the tensors of the step that failed.
        if round_.leaves or self.note is not None:
            self.leave()

    def leave(self) -> None:
        """Go back to the CPU and leave nothing on the device."""
        devices = {p.device for p in self.model.parameters()}
        self._training = None
        self.model.zero_grad(set_to_none=True)
        for _, quantizer, _ in quantized_weights(self.model):
            quantizer.cached.clear()  # which no module's `to` sees
        self.model.to('cpu')
        for device in devices:
            restore(device)

    def _measure(self, round_: Round, training: Training) -> None:
        if self.saved_bytes is None:
            self.saved_bytes = training.saved_bytes()
        for _ in range(round_.warm_up):
            training.step()
        reset_peak(training.device)
        self.seconds += [training.step() for _ in range(round_.steps)]
        self._note_peaks(training.device)

    def _note_peaks(self, device: torch.device) -> None:
        reached, before = peaks(device), self.peak_bytes or (0, 0)
        if reached is not None:
            self.peak_bytes = max(reached[0], before[0]), max(reached[1], before[1])
