"""Search of the largest batch that trains within a memory limit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from torch import nn

from mmqadapter.studies.benchmark.batches import Batch, BatchSource
from mmqadapter.studies.benchmark.memory import is_out_of_memory, limited, peaks, restore
from mmqadapter.studies.benchmark.training import Training
from mmqadapter.studies.report.settings import Settings

CEILING = 1024  # images at which the search stops
ONE_VALUE = 'more than 1 value per channel'  # in the error of torch's batch norm
STEPS = 2  # the optimizer allocates its state in the first
Start = Callable[[nn.Module, list[Batch]], Training]


def largest_batch(
    needed: Callable[[int], int], limit: int, ceiling: int = CEILING, least: int = 1
) -> int:
    """Return the largest batch within a memory limit; 0 if the smallest batch exceeds it.

    Args:
        needed: Function from the number of images to the bytes that they need, which must not
            decrease; it may run out of memory.
        limit: Memory limit in bytes.
        ceiling: Number of images at which the search stops.
        least: Number of images of the smallest batch that trains.
    """
    fits, too_many = 0, least
    while too_many <= ceiling and _fits(needed, too_many, limit):
        fits, too_many = too_many, too_many * 2
    too_many = min(too_many, ceiling + 1)
    while too_many - max(fits, least - 1) > 1:
        middle = (fits + too_many) // 2
        if _fits(needed, middle, limit):
            fits = middle
        else:
            too_many = middle
    return fits


def _fits(needed: Callable[[int], int], batch: int, limit: int) -> bool:
    try:
        return needed(batch) <= limit
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False


def least_batch(needed: Callable[[int], int]) -> int:
    """Return the smallest batch that trains: 1 image, or 2 if a batch norm refuses one value.

    A batch norm after global pooling gets one value per channel and image, and training needs two.

    Args:
        needed: Function as in :func:`largest_batch`.
    """
    try:
        needed(1)
    except ValueError as error:
        if ONE_VALUE not in str(error):
            raise
        return 2
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return 1


def find_max_batch(model: nn.Module, start: Start, source: BatchSource, settings: Settings) -> int:
    """Return the largest batch that ``model`` trains on within ``settings.memory_limit`` bytes.

    On a GPU the limit is on the bytes that torch reserves (the CUDA context needs a few hundred MB
    more) and is enforced during the search. On a CPU it is on parameters, buffers, gradients,
    optimizer state and activation memory (saved for backward): an estimate without temporaries.

    Args:
        model: Model of one method, on the CPU before and after the search.
        start: Function that moves the model to the device and returns its training on some batches.
        source: Function that makes batches of a given size.
        settings: Settings with a memory limit.
    """
    device, limit = settings.device, settings.memory_limit or 0
    count = reserved_bytes if device.type == 'cuda' else estimated_bytes

    @cache
    def needed(batch_size: int) -> int:
        model.zero_grad(set_to_none=True)  # left from a step that ran out of memory
        restore(device)
        return count(start(model, source(batch_size)))

    try:
        with limited(device, limit):
            return largest_batch(needed, limit, least=least_batch(needed))
    finally:
        model.zero_grad(set_to_none=True)
        model.to('cpu')
        restore(device)


def reserved_bytes(training: Training) -> int:
    """Return the peak of the bytes that torch reserves on a GPU during training."""
    for _ in range(STEPS):
        training.step()
    allocated_and_reserved = peaks(training.device)
    assert allocated_and_reserved is not None
    return allocated_and_reserved[1]


def estimated_bytes(training: Training) -> int:
    """Return the bytes that training holds between steps and between forward and backward."""
    return training.resident_bytes() + training.saved_bytes()
