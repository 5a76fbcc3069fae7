"""Compare predictions, whatever their structure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor


def tensors_of(predictions: Any) -> dict[str, Tensor]:
    """Return all tensors in a list of data samples that a model predicted, by name."""
    return dict(_tensors('', predictions))


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value.detach()
    elif isinstance(value, BaseDataElement):
        for key, child in value.items():
            if not key.startswith(('gt_', 'ignored', 'proposals')):
                yield from _tensors(f'{name}.{key}', child)
    elif isinstance(value, (list, tuple)):
        for number, child in enumerate(value):
            yield from _tensors(f'{name}[{number}]', child)


def difference(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> float:
    """Return the largest difference relative to a tensor's largest value; inf for other shapes.

    Integers count by the share of those that differ, since ties may fall either way.
    """
    if expected.keys() != actual.keys():
        return math.inf
    return max((_difference(expected[name], actual[name]) for name in expected), default=0.0)


def _difference(expected: Tensor, actual: Tensor) -> float:
    if expected.shape != actual.shape:
        return math.inf
    if torch.equal(expected, actual):
        return 0.0
    if not expected.is_floating_point():
        return float((expected != actual).float().mean())
    return float((expected - actual).abs().max() / expected.abs().max())
