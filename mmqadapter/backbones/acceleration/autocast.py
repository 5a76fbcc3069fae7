"""Autocast as it was around a call, for what the call does on behalf of others."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AutocastState:
    """Whether and how autocast acts on a type of device; no dtype where the device has none."""

    device: str = 'cpu'
    enabled: bool = False
    dtype: torch.dtype | None = None

    @classmethod
    def capture(cls, device: str) -> AutocastState:
        """As it is at present."""
        if not torch.amp.is_autocast_available(device):
            return cls(device)
        return cls(device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))

    def restore(self) -> AbstractContextManager:
        """Context in which it is so."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device, self.dtype, self.enabled)
