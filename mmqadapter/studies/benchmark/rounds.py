"""Who takes how many steps when: methods interleave, so that a drifting machine hurts all alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from mmqadapter.studies.benchmark.candidate import Round

GPU_ROUNDS = 2
T = TypeVar('T')


def schedule_rounds(device: torch.device, steps: int, warm_up: int) -> list[Round]:
    """Turns that each method takes.

    On a CPU all methods stay in memory and a turn is one step, as close together as they can be:
    nothing moves, so one warm-up is enough, and memory is counted, not observed.

    On a GPU the peak of one method is only its own when no other is there. So a method has the
    device to itself for a turn of many steps and then leaves it, with its optimiser and all cached
    blocks; each turn warms up anew. Moving a model in between steps would put cold caches and
    a fresh allocator into every step that is timed. Two turns in opposite order (A B C, C B A)
    give all methods the same mean moment, which cancels a steady drift.

    Args:
        device: Where to train.
        steps: Measured steps in all.
        warm_up: Steps before the first one of a turn that follows an empty device.
    """
    if device.type == 'cpu':
        return [Round(warm_up, 1, False), *[Round(0, 1, False)] * (steps - 1)]
    rounds = min(GPU_ROUNDS, steps)
    shares = [steps // rounds + (number < steps % rounds) for number in range(rounds)]
    return [Round(warm_up, share, True) for share in shares]


def in_order(candidates: Sequence[T], number: int) -> list[T]:
    """The candidates in the order of round ``number``: each second round runs backwards."""
    return list(candidates) if number % 2 == 0 else list(reversed(candidates))
