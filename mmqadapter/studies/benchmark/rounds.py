"""Schedule of the measurement: methods alternate, so that a drifting machine affects all alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from mmqadapter.studies.benchmark.candidate import Round

GPU_ROUNDS = 2
T = TypeVar('T')


def schedule_rounds(device: torch.device, steps: int, warm_up: int) -> list[Round]:
    """Return the rounds of each method.

    On a CPU all models stay in memory and a round is one step, so that the steps of the methods are
    close together in time. No model moves, so one warm-up is enough, and memory is counted instead
    of observed.

    On a GPU the memory peak belongs to one method only if no other model is on the device. A round
    therefore has many steps, after which the model, its optimizer and all cached blocks leave the
    device, and each round warms up again. (Moving models after every step would time cold caches
    and a fresh allocator.) Two rounds in opposite order (A B C, C B A) give all methods the same
    mean time of measurement, which cancels a steady drift.

    Args:
        device: Device to train on.
        steps: Measured steps of each method in total.
        warm_up: Steps before the first measured one of a model that has moved to the device.
    """
    if device.type == 'cpu':
        return [Round(warm_up, 1, False), *[Round(0, 1, False)] * (steps - 1)]
    rounds = min(GPU_ROUNDS, steps)
    counts = [steps // rounds + (index < steps % rounds) for index in range(rounds)]
    return [Round(warm_up, count, True) for count in counts]


def in_order(candidates: Sequence[T], index: int) -> list[T]:
    """Return the candidates in the order of round ``index``, which is reversed for odd ones."""
    return list(candidates) if index % 2 == 0 else list(reversed(candidates))
