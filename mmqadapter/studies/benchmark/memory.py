"""The device's memory: what is left behind, what was used at most, when it is not enough."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# What allocators and the libraries below torch say where they do not raise OutOfMemoryError.
SIGNS = (
    "can't allocate memory",
    'out of memory',
    'ALLOC_FAILED',
    'ALLOCATION_FAILED',
    # cuDNN, when no way to compute a convolution is left for which there is room.
    'unable to find an engine',
    'Unable to find a valid cuDNN algorithm',
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory, of a GPU or of the machine, was not enough."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(sign in str(error) for sign in SIGNS)


def restore(device: torch.device) -> None:
    """Give back what nothing on a GPU refers to any more, and start counting its peak anew."""
    if device.type == 'cuda':
        gc.collect()
        torch.cuda.empty_cache()
        reset_peak(device)


def reset_peak(device: torch.device) -> None:
    """Start counting the peak of a GPU anew, from what is in use now."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)


def peaks(device: torch.device) -> tuple[int, int] | None:
    """Bytes allocated and reserved at most since the last reset; None on a CPU."""
    if device.type != 'cuda':
        return None
    return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def require_memory(device: torch.device, limit: int) -> None:
    """Check that a GPU has ``limit`` bytes; of a CPU nothing is asked.

    Raises:
        ValueError: It has not.
    """
    if device.type != 'cuda':
        return
    total = torch.cuda.get_device_properties(device).total_memory
    if limit > total:
        raise ValueError(f'memory_limit={limit}: the GPU has {total} bytes; ask for less.')


@contextmanager
def limited(device: torch.device, limit: int) -> Iterator[None]:
    """Let this process reserve at most ``limit`` bytes of a GPU; nothing happens on a CPU.

    Near the limit torch then gives cached blocks back before it reserves more, as on a card of
    that size.
    """
    if device.type != 'cuda':
        yield
        return
    index = torch.cuda.current_device() if device.index is None else device.index
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / total, index)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, index)
