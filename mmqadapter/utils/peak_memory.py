"""Peak memory of a GPU over training steps."""

from __future__ import annotations

import torch


class PeakMemory:
    """Peak memory of a device within training steps, in bytes; always None on a CPU.

    mmengine's logger resets PyTorch's counters in the middle of a step, so they are read within
    each step, before and after that.

    Attributes:
        allocated: Most bytes in tensors; None before the first step and on a CPU.
        reserved: Most bytes reserved from the device; None likewise.
    """

    def __init__(self, device: torch.device) -> None:
        self.allocated: int | None = None
        self.reserved: int | None = None
        self._device = device
        self._has_counters = device.type == 'cuda'
        self._outside_training = True

    def begin(self) -> None:
        """Begin a step; memory used before the first step or since ``pause`` does not count."""
        if self._has_counters and self._outside_training:
            torch.cuda.reset_peak_memory_stats(self._device)
        self._outside_training = False

    def update(self) -> None:
        """Read the counters; call this within each step, before anything resets them."""
        if self._has_counters:
            allocated = torch.cuda.max_memory_allocated(self._device)
            reserved = torch.cuda.max_memory_reserved(self._device)
            self.allocated = max(allocated, self.allocated or 0)
            self.reserved = max(reserved, self.reserved or 0)

    def pause(self) -> None:
        """Ignore the memory used from now until the next step, such as that of validation."""
        self._outside_training = True
