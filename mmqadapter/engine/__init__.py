"""From a config to a runner: data order, optimiser, processes, and the patches of mmengine."""

from mmqadapter.engine import optim  # registers its constructor
from mmqadapter.engine.seeded_data import (
    SeededDataset,
    StampedIndex,
    StampedSampler,
    exactly_resumable,
)

__all__ = ['SeededDataset', 'StampedIndex', 'StampedSampler', 'exactly_resumable', 'optim']
