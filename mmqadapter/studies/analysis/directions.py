"""Random directions in weight space."""

from __future__ import annotations

import torch
from torch import Tensor

from mmqadapter.studies.analysis.perturbation import Values
from mmqadapter.utils.random_state import seeded


def filter_normalized(weights: Values, *key: int) -> dict[str, Tensor]:
    """Return a random direction in which each filter has the norm of that filter of the weights.

    Without this normalization a net with large weights looks flat and one with small weights
    sharp, even if both compute the same (arXiv 1712.09913, sec. 4). A filter consists of the
    weights of one output: one row of a weight (out, in, ...).

    Args:
        weights: Weights of two dimensions or more, by name.
        key: Numbers of 0 or more, used as a seed; the same key gives the same direction.
    """
    return {name: _rescaled(draw, weights[name]) for name, draw in gaussian(weights, *key).items()}


def gaussian(weights: Values, *key: int) -> dict[str, Tensor]:
    """Return independent N(0, 1) samples in the shapes of ``weights``, with ``key`` as the seed."""
    with seeded(*key):
        return {name: torch.randn(w.shape).to(w) for name, w in sorted(weights.items())}


def _rescaled(draw: Tensor, weight: Tensor) -> Tensor:
    norms, target_norms = _filter_norms(draw), _filter_norms(weight)
    return draw * (target_norms / norms.clamp_min(torch.finfo(draw.dtype).tiny))


def _filter_norms(weight: Tensor) -> Tensor:
    """Return the Euclidean norms (out, 1, ...) of a weight (out, in, ...)."""
    dims = tuple(range(1, weight.ndim))
    return torch.linalg.vector_norm(weight, dim=dims, keepdim=True)
