"""Autocast as it was around a call, for what the call does on behalf of others."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Autocast:
    """Whether and how autocast acts on a type of device."""

    device: str = 'cpu'
    enabled: bool = False
    dtype: torch.dtype = torch.bfloat16

    @classmethod
    def now(cls, device: str) -> Autocast:
        """As it is at present."""
        return cls(device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))

    def again(self) -> torch.autocast:
        """Context in which it is so."""
        return torch.autocast(self.device, self.dtype, self.enabled)
