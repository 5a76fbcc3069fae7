"""Error of float weights that are quantized after training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from mmqadapter.quant import BITS, CRITERIA, GaussianQuantizer, gaussian_codebook, packed_bytes
from mmqadapter.quant.quantizer import GRANULARITIES
from mmqadapter.studies.analysis.perturbation import Values

STATISTICS_BYTES = 8  # mean and standard deviation, float32


@dataclass(frozen=True)
class Setting:
    """Settings of a :class:`mmqadapter.quant.GaussianQuantizer`."""

    bits: int
    criterion: str = 'l1'
    granularity: str = 'tensor'

    def quantizer(self) -> GaussianQuantizer:
        """Build a quantizer with these settings.

        Raises:
            ValueError: A setting is invalid.
        """
        return GaussianQuantizer(self.bits, self.criterion, self.granularity)


def settings(
    bits: Iterable[int] = BITS,
    criteria: Iterable[str] = CRITERIA,
    granularities: Iterable[str] = GRANULARITIES,
) -> list[Setting]:
    """Return all combinations, ordered by granularity, criterion and bits.

    Raises:
        ValueError: A setting is invalid.
    """
    combinations = [Setting(b, c, g) for g, c, b in product(granularities, criteria, bits)]
    for setting in combinations:
        setting.quantizer()
    return combinations


@torch.no_grad()
def quantized(weights: Values, setting: Setting) -> dict[str, Tensor]:
    """Quantize and decode weights, by name.

    Raises:
        ValueError: A weight is constant or not finite, or has a single value per output and the
            granularity is ``'channel'``.
    """
    quantizer = setting.quantizer().eval()  # which refuses what training makes NaN
    return {name: quantizer(weight) for name, weight in weights.items()}


def relative_error(weights: Values, values: Values) -> float:
    """Return the sum of squared errors of ``values``, divided by that of squared ``weights``."""
    error = sum(float((values[n].double() - w.double()).square().sum()) for n, w in weights.items())
    return error / sum(float(w.double().square().sum()) for w in weights.values())


def gaussian_error(bits: int, criterion: str) -> float:
    """Return the codebook's mean square error on N(0, 1): the relative error of such weights."""
    levels, thresholds = gaussian_codebook(bits, criterion)
    ends = torch.tensor([math.inf], dtype=levels.dtype)
    edges = torch.cat([-ends, thresholds, ends])
    density = torch.exp(-edges.square() / 2) / math.sqrt(2 * math.pi)
    # Moments of N(0, 1) over each cell, of order 0, 1 and 2; x * density is 0 at both ends.
    mass = torch.special.ndtr(edges).diff()
    first = -density.diff()
    second = mass - (edges.nan_to_num(0, 0, 0) * density).diff()
    return float((second - 2 * levels * first + levels.square() * mass).sum())


def can_quantize(weights: Values, setting: Setting) -> bool:
    """Return whether each standard deviation is that of two weights or more."""
    single = any(weight[0].numel() == 1 for weight in weights.values())
    return not (single and setting.granularity == 'channel')


def stored_bytes(weights: Values, setting: Setting) -> int:
    """Return the bytes of packed codes and statistics in a task file."""
    return sum(_matrix_bytes(weight, setting) for weight in weights.values())


def _matrix_bytes(weight: Tensor, setting: Setting) -> int:
    statistics = setting.quantizer().statistics_count(weight.shape)
    return packed_bytes(weight.numel(), setting.bits) + STATISTICS_BYTES * statistics
