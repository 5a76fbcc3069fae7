"""Training data that can be continued exactly."""

from mmqadapter.datasets.seeded import (
    SeededDataset,
    StampedIndex,
    StampedSampler,
    exactly_resumable,
)

__all__ = ['SeededDataset', 'StampedIndex', 'StampedSampler', 'exactly_resumable']
