"""Random directions in the space of weights."""

from __future__ import annotations

import torch
from torch import Tensor

from mmqadapter.studies.analysis.perturbation import Values
from mmqadapter.utils.random_state import seeded


def filter_normalized(weights: Values, *key: int) -> dict[str, Tensor]:
    """Random direction in which each filter is as long as that of the weights.

    Without it a net with large weights looks flat and one with small weights sharp, although
    both may compute the same (arXiv 1712.09913, sec. 4). A filter is what gives one output: one
    row of a weight (out, in, ...).

    Args:
        weights: By name, two dimensions or more each.
        key: Seed, as numbers of 0 or more; the same key gives the same direction.
    """
    return {name: _rescaled(draw, weights[name]) for name, draw in gaussian(weights, *key).items()}


def gaussian(weights: Values, *key: int) -> dict[str, Tensor]:
    """Independent N(0, 1) in the shapes of ``weights``; the same key gives the same numbers."""
    with seeded(*key):
        return {name: torch.randn(w.shape).to(w) for name, w in sorted(weights.items())}


def _rescaled(draw: Tensor, weight: Tensor) -> Tensor:
    length, wanted = (_filter_norms(tensor) for tensor in (draw, weight))
    return draw * (wanted / length.clamp_min(torch.finfo(draw.dtype).tiny))


def _filter_norms(weight: Tensor) -> Tensor:
    """Euclidean norms (out, 1, ...) of a weight (out, in, ...)."""
    dims = tuple(range(1, weight.ndim))
    return torch.linalg.vector_norm(weight, dim=dims, keepdim=True)
