"""From a config to a runner: data order, optimizer, processes, files, and patches of mmengine."""

# Imported so that they are registered: a file backend, and what makes optimizers.
from mmqadapter.engine import atomic_backend, optim, precision
from mmqadapter.engine.seeded_data import (
    SeededDataset,
    StampedIndex,
    StampedSampler,
    exactly_resumable,
)

__all__ = [
    'SeededDataset',
    'StampedIndex',
    'StampedSampler',
    'atomic_backend',
    'exactly_resumable',
    'optim',
    'precision',
]
