"""Training data that can be continued exactly, and the checks of a user's own data."""

from mmqadapter.datasets.seeded import (
    SeededDataset,
    StampedIndex,
    StampedSampler,
    exactly_resumable,
)

__all__ = ['SeededDataset', 'StampedIndex', 'StampedSampler', 'exactly_resumable']
