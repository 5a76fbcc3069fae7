"""Training loss of a model as a function of its weights alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mmqadapter.studies.analysis.batches import Batch
from mmqadapter.utils.random_state import seeded_everywhere


class FixedLoss:
    """Mean training loss over batches, which is deterministic for the same weights.

    The model is in eval mode: no dropout, and batch norm uses its running statistics without
    updating them. Other random numbers, such as those that select a detector's proposals, are
    drawn with the same seed each time.

    Args:
        model: A detector or segmentor.
        batches: Batches before preprocessing; they are not modified.
        seed: Seed of the random numbers.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Batch], seed: int = 0) -> None:
        self._model: Any = model
        self._batches, self._seed = batches, seed

    def __call__(self) -> float:
        """Return the loss at the model's present weights; it may be inf or NaN."""
        self._model.eval()
        losses = [self._batch_loss(index) for index in range(len(self._batches))]
        return sum(losses) / len(losses)

    @torch.no_grad()
    def _batch_loss(self, index: int) -> float:
        # A copy, because preprocessing and heads modify the ground truth in place.
        batch = copy.deepcopy(self._batches[index])
        with seeded_everywhere(self._seed, index):
            data = self._model.data_preprocessor(batch, True)
            losses = self._model(**data, mode='loss')
        return float(self._model.parse_losses(losses)[0])
