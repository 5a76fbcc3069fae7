"""The training loss of a model as a function of its weights alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mmqadapter.studies.analysis.batches import Batch
from mmqadapter.utils.random_state import seeded_everywhere


class FixedLoss:
    """Mean training loss over batches; the same weights always give the same number.

    The model is in eval mode: no dropout, and batch norm uses its running statistics, which stay
    as they are. What is drawn besides, such as the proposals that a detector learns from, is drawn
    with the same seed each time.

    Args:
        model: A detector or segmentor.
        batches: Before preprocessing; they stay where they are.
        seed: Of what is drawn.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Batch], seed: int = 0) -> None:
        self._model: Any = model
        self._batches, self._seed = batches, seed

    def __call__(self) -> float:
        """The loss at the weights that the model has now; it may be inf or NaN."""
        self._model.eval()
        losses = [self._of_batch(number) for number in range(len(self._batches))]
        return sum(losses) / len(losses)

    @torch.no_grad()
    def _of_batch(self, number: int) -> float:
        # A copy: preprocessing and heads change the ground truth in place.
        batch = copy.deepcopy(self._batches[number])
        with seeded_everywhere(self._seed, number):
            data = self._model.data_preprocessor(batch, True)
            losses = self._model(**data, mode='loss')
        return float(self._model.parse_losses(losses)[0])
