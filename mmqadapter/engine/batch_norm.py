"""The error of a batch norm that gets a single value per channel, with its remedies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

TORCH_MESSAGE = 'Expected more than 1 value per channel when training'


@contextmanager
def batch_norm_remedy() -> Iterator[None]:
    """Say what to do if a batch norm trained in this block gets one value per channel.

    Raises:
        ValueError: The one of PyTorch, with remedies.
    """
    try:
        yield
    except ValueError as error:
        if TORCH_MESSAGE not in str(error):
            raise
        size = str(error).rpartition('input size ')[2]
        raise ValueError(
            f'batch norm cannot train on a single value per channel (its input is {size}: a batch '
            'of one image at a map of one pixel); use a batch of 2 or more per process '
            '(train_dataloader.batch_size=2, --batch-size 2 in benchmark), leave out a last batch '
            "of one (train_dataloader.drop_last=True), or use group norm (norm_cfg type='GN', "
            'num_groups=32).'
        ) from error
