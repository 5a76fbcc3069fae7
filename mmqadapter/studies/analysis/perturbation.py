"""Temporary changes of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

Values = Mapping[str, Tensor]


class Perturbation:
    """Weights of a model that can be changed for a while and are restored bit for bit.

    Args:
        weights: Parameters by name.

    Attributes:
        start: Copies of the original weights, by name.
    """

    def __init__(self, weights: Values) -> None:
        self._weights = dict(weights)
        self.start = {name: weight.detach().clone() for name, weight in weights.items()}

    @property
    def count(self) -> int:
        """Number of scalar weights."""
        return sum(weight.numel() for weight in self.start.values())

    @contextmanager
    def at(self, values: Values) -> Iterator[None]:
        """Replace some of the weights by ``values``, by name, within the context."""
        try:
            self._write(values)
            yield
        finally:
            self._write(self.start)

    @contextmanager
    def along(self, *steps: tuple[float, Values]) -> Iterator[None]:
        """Add the sum of factor times direction to the weights, within the context."""
        values = dict(self.start)
        for factor, direction in steps:
            values.update({n: values[n] + factor * change for n, change in direction.items()})
        with self.at(values):
            yield

    @torch.no_grad()
    def _write(self, values: Values) -> None:
        for name, value in values.items():
            self._weights[name].copy_(value)
