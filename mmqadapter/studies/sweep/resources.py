"""Slots: the threads and GPUs of a machine that one of several parallel trainings may use."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

VISIBLE = 'CUDA_VISIBLE_DEVICES'


@dataclass(frozen=True)
class ResourceSlot:
    """Threads and GPUs of a machine for one training.

    Attributes:
        threads: Number of CPU threads.
        gpus: GPUs as in ``CUDA_VISIBLE_DEVICES``; None for all visible ones.
    """

    threads: int
    gpus: str | None = None

    def variables(self, processes: int) -> dict[str, str]:
        """Return the environment variables of each process that trains the model in this slot."""
        # numpy and the operators of mmcv read OMP_NUM_THREADS as well.
        threads = {'OMP_NUM_THREADS': str(max(1, self.threads // processes))}
        return threads if self.gpus is None else {**threads, VISIBLE: self.gpus}


def machine_slots(jobs: int, processes: int = 1) -> list[ResourceSlot]:
    """Divide this machine into slots for ``jobs`` parallel trainings.

    They share its cores or, where ``OMP_NUM_THREADS`` is set, as many threads as it says.

    A slot has one GPU for each process of a training. If there are fewer, some slots have the same.
    """
    limited = 'OMP_NUM_THREADS' in os.environ
    threads = max(1, (torch.get_num_threads() if limited else os.cpu_count() or 1) // jobs)
    gpus = _visible_gpus()
    starts = range(0, len(gpus) - processes + 1, processes)
    groups = [gpus[start : start + processes] for start in starts]
    if not groups:
        return [ResourceSlot(threads)] * jobs
    return [ResourceSlot(threads, ','.join(groups[job % len(groups)])) for job in range(jobs)]


def _visible_gpus() -> list[str]:
    count, visible = torch.cuda.device_count(), os.environ.get(VISIBLE)
    names = map(str, range(count)) if visible is None else visible.split(',')
    return [name.strip() for name in names][:count]
