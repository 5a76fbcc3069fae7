"""What of a machine a training may use while others train beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

VISIBLE = 'CUDA_VISIBLE_DEVICES'


@dataclass(frozen=True)
class ResourceSlot:
    """A part of a machine.

    Attributes:
        threads: On its CPU.
        gpus: As ``CUDA_VISIBLE_DEVICES`` names them; None for all that are visible.
    """

    threads: int
    gpus: str | None = None

    def variables(self, processes: int) -> dict[str, str]:
        """Environment variables for each of the processes that train one model on it."""
        # numpy and the operators of mmcv read it, too.
        threads = {'OMP_NUM_THREADS': str(max(1, self.threads // processes))}
        return threads if self.gpus is None else {**threads, VISIBLE: self.gpus}


def machine_slots(jobs: int, processes: int = 1) -> list[ResourceSlot]:
    """A share of this machine for each of ``jobs`` trainings at a time.

    Each has a GPU for each of its processes; where there are not so many, some share theirs.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    gpus = _visible_gpus()
    groups = [gpus[at : at + processes] for at in range(0, len(gpus) - processes + 1, processes)]
    if not groups:
        return [ResourceSlot(threads)] * jobs
    return [ResourceSlot(threads, ','.join(groups[job % len(groups)])) for job in range(jobs)]


def _visible_gpus() -> list[str]:
    count, told = torch.cuda.device_count(), os.environ.get(VISIBLE)
    names = map(str, range(count)) if told is None else told.split(',')
    return [name.strip() for name in names][:count]
