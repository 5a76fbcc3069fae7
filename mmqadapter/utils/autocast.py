"""State of autocast, to be captured at one place and restored at another."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from mmqadapter.compat.torch_names import (
    get_autocast_dtype,
    is_autocast_available,
    is_autocast_enabled,
)


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
        if not is_autocast_available(device):
            return cls(device)
        return cls(device, is_autocast_enabled(device), get_autocast_dtype(device))

    def restore(self, cache_enabled: bool | None = None) -> AbstractContextManager:
        """Return a context manager that restores this state.

        Args:
            cache_enabled: Whether casts of weights are cached; None as outside.
        """
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device, self.dtype, self.enabled, cache_enabled)
