"""State of autocast, to be captured at one place and restored at another."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AutocastState:
    """State of autocast for one type of device.

    Attributes:
        device: Type of the device.
        enabled: Whether autocast is enabled.
        dtype: Dtype of autocast; None if this type of device has no autocast.
    """

    device: str = 'cpu'
    enabled: bool = False
    dtype: torch.dtype | None = None

    @classmethod
    def capture(cls, device: str) -> AutocastState:
        """Return the present state for a type of device."""
        if not torch.amp.is_autocast_available(device):
            return cls(device)
        return cls(device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))

    def restore(self) -> AbstractContextManager:
        """Return a context manager that restores this state."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device, self.dtype, self.enabled)
