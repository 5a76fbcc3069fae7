"""Memory of the device: release, peaks, limits, and recognition of out-of-memory errors."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mmqadapter.compat.torch_names import OutOfMemoryError

# Messages of allocators and libraries below torch that do not raise OutOfMemoryError.
MESSAGES = (
    "can't allocate memory",
    'out of memory',
    'ALLOC_FAILED',
    'ALLOCATION_FAILED',
    # cuDNN, if no algorithm of a convolution fits into the memory.
    'unable to find an engine',
    'Unable to find a valid cuDNN algorithm',
)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that the memory of a GPU or of the machine was exhausted."""
    if isinstance(error, (OutOfMemoryError, MemoryError)):
        return True
    return any(message in str(error) for message in MESSAGES)


def restore(device: torch.device) -> None:
    """Release unreferenced memory of a GPU and reset its peaks; no effect on a CPU."""
    if device.type == 'cuda':
        gc.collect()
        torch.cuda.empty_cache()
        reset_peak(device)


def reset_peak(device: torch.device) -> None:
    """Reset the peaks of a GPU to what is in use now; no effect on a CPU."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)


def peaks(device: torch.device) -> tuple[int, int] | None:
    """Return the peaks of allocated and reserved bytes since the last reset; None on a CPU."""
    if device.type != 'cuda':
        return None
    return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished all queued work."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def require_memory(device: torch.device, limit: int) -> None:
    """Check that a GPU has ``limit`` bytes; a CPU is not checked.

    Raises:
        ValueError: The GPU has less.
    """
    if device.type != 'cuda':
        return
    total = torch.cuda.get_device_properties(device).total_memory
    if limit > total:
        raise ValueError(
            f'memory_limit={limit} is invalid: expected at most the {total} bytes of the GPU.'
        )


@contextmanager
def limited(device: torch.device, limit: int) -> Iterator[None]:
    """Limit the bytes that this process may reserve on a GPU; no effect on a CPU.

    Near the limit torch releases cached blocks before it reserves more, as on a GPU of that size.
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
