"""The largest batch that trains within a stated memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from torch import nn

from mmqadapter.studies.benchmark.batches import Batch, BatchSource
from mmqadapter.studies.benchmark.memory import is_out_of_memory, limited, peaks, restore
from mmqadapter.studies.benchmark.training import Training
from mmqadapter.studies.report.settings import Settings

CEILING = 1024  # images; no search goes on beyond
ONE_VALUE = 'more than 1 value per channel'  # torch's words
STEPS = 2  # the second has the optimiser's state from its start
Start = Callable[[nn.Module, list[Batch]], Training]


def largest_batch(
    needed: Callable[[int], int], limit: int, ceiling: int = CEILING, least: int = 1
) -> int:
    """Largest batch whose memory is within a limit; 0 where not even the least is.

    Args:
        needed: Bytes that a batch of so many images needs, growing with it; an error that says
            "out of memory" means too many.
        limit: Bytes.
        ceiling: Images that are enough.
        least: Images of the smallest batch that trains.
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
    """1 image, or 2 where a batch norm behind a pooling to one place refuses one value a channel.

    Args:
        needed: See :func:`largest_batch`.
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
    """Largest batch that ``model`` trains on within ``settings.memory_limit`` bytes.

    On a GPU these are the bytes that torch reserves (the CUDA context, some hundred MB, comes on
    top), and the search runs under that limit. On a CPU they are parameters, buffers, gradients,
    optimiser state and what is kept for backward: an estimate without temporary tensors.

    Args:
        model: Of one method, on the CPU; it is there again afterwards.
        start: Brings the model to the device, to train on some batches.
        source: Gives batches of any size.
        settings: With a memory limit.
    """
    device, limit = settings.device, settings.memory_limit or 0
    count = reserved_bytes if device.type == 'cuda' else estimated_bytes

    @cache
    def needed(batch_size: int) -> int:
        model.zero_grad(set_to_none=True)  # a step that ran out of memory left some
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
    """Bytes of a GPU that torch reserves for training, at most."""
    for _ in range(STEPS):
        training.step()
    reached = peaks(training.device)
    assert reached is not None
    return reached[1]


def estimated_bytes(training: Training) -> int:
    """Bytes that training keeps from step to step, and from forward to backward."""
    return training.resident_bytes() + training.saved_bytes()
