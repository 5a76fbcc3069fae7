"""Peaks of training steps, although a logger resets the counters and validation takes more."""

from __future__ import annotations

import pytest
import torch

from mmqadapter.utils.peak_memory import PeakMemory


class Device:
    """Stand-in for a GPU's counters."""

    def __init__(self) -> None:
        self.held = self.peak = 100

    def use(self, extra: int) -> None:
        """Allocate and free again."""
        self.peak = max(self.peak, self.held + extra)

    def reset(self, _: torch.device) -> None:
        self.peak = self.held

    def allocated(self, _: torch.device) -> int:
        return self.peak

    def reserved(self, _: torch.device) -> int:
        return 2 * self.peak


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    stand_in = Device()
    monkeypatch.setattr(torch.cuda, 'reset_peak_memory_stats', stand_in.reset)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', stand_in.allocated)
    monkeypatch.setattr(torch.cuda, 'max_memory_reserved', stand_in.reserved)
    return stand_in


def step(device: Device, peak: PeakMemory, extra: int) -> None:
    peak.begin()
    device.use(extra)
    peak.update()
    device.reset(torch.device('cuda'))  # as mmengine's logger does
    peak.update()


def test_the_largest_step_counts(device: Device) -> None:
    peak = PeakMemory(torch.device('cuda'))
    assert peak.allocated is peak.reserved is None
    device.use(5000)  # before training
    for extra in (300, 900, 200):
        step(device, peak, extra)
    assert (peak.allocated, peak.reserved) == (1000, 2000)


def test_validation_does_not_count(device: Device) -> None:
    peak = PeakMemory(torch.device('cuda'))
    step(device, peak, 300)
    peak.pause()
    device.use(5000)
    assert peak.allocated == 400
    step(device, peak, 200)
    assert peak.allocated == 400


def test_a_cpu_has_no_peak(device: Device) -> None:
    peak = PeakMemory(torch.device('cpu'))
    step(device, peak, 300)
    assert peak.allocated is peak.reserved is None
