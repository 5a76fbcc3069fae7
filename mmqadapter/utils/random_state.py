"""The random generators of this process: get and set their states, seed them for a block."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_random_state() -> dict[str, Any]:
    """Return the states of the generators of Python, NumPy and PyTorch, on CPU and GPUs.

    They are tensors, numbers, strings and tuples only, which ``torch.load(weights_only=True)``
    accepts.
    """
    name, keys, *rest = np.random.get_state()
    return {
        'python': random.getstate(),
        'numpy': (name, tuple(np.asarray(keys).tolist()), *rest),
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what :func:`get_random_state` returned; states of missing GPUs are ignored."""
    name, keys, *rest = state['numpy']
    random.setstate(state['python'])
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if state['cuda']:
        for device, saved in enumerate(state['cuda'][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(saved.cpu(), device)


@contextmanager
def seeded_everywhere(*key: int) -> Iterator[None]:
    """Seed as :func:`seeded` does, and the GPUs of this process, too."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with seeded(*key), torch.random.fork_rng(gpus):
        if gpus:
            torch.cuda.manual_seed_all(torch.initial_seed())
        yield


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed the CPU generators from ``key`` (numbers >= 0) for a block, then restore them."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    words = np.random.SeedSequence(key).generate_state(3).tolist()
    try:
        random.seed(words[0])
        np.random.seed(words[1])
        # Not torch.manual_seed: it would reseed the GPUs too.
        torch.default_generator.manual_seed(words[2])
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
