"""Peaks of a GPU's memory over training steps."""

from __future__ import annotations

import torch


class PeakMemory:
    """The most bytes that PyTorch held on a device within training steps; a CPU tells none.

    mmengine sets PyTorch's counters back whenever it logs, so they are read within each step.

    Attributes:
        allocated: In tensors; None before a step and on a CPU.
        reserved: From the device; the same.
    """

    def __init__(self, device: torch.device) -> None:
        self.allocated: int | None = None
        self.reserved: int | None = None
        self._device = device
        self._counts = device.type == 'cuda'
        self._left = True

    def begin(self) -> None:
        """A step begins; what came before the first one, or since ``leave``, does not count."""
        if self._counts and self._left:
            torch.cuda.reset_peak_memory_stats(self._device)
        self._left = False

    def note(self) -> None:
        """Read the counters: in each step, before anybody sets them back."""
        if self._counts:
            allocated = torch.cuda.max_memory_allocated(self._device)
            reserved = torch.cuda.max_memory_reserved(self._device)
            self.allocated = max(allocated, self.allocated or 0)
            self.reserved = max(reserved, self.reserved or 0)

    def leave(self) -> None:
        """No training until the next step, but validation."""
        self._left = True
