"""What is lost when float weights are quantised after training."""

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
    """How weights are quantised; see :class:`mmqadapter.quant.GaussianQuantizer`."""

    bits: int
    criterion: str = 'l1'
    granularity: str = 'tensor'

    def quantizer(self) -> GaussianQuantizer:
        """A quantiser of these settings.

        Raises:
            ValueError: It knows no such settings.
        """
        return GaussianQuantizer(self.bits, self.criterion, self.granularity)


def settings(
    bits: Iterable[int] = BITS,
    criteria: Iterable[str] = CRITERIA,
    granularities: Iterable[str] = GRANULARITIES,
) -> list[Setting]:
    """All combinations, by granularity, criterion and bits.

    Raises:
        ValueError: One that a quantiser does not know.
    """
    found = [Setting(b, c, g) for g, c, b in product(granularities, criteria, bits)]
    for setting in found:
        setting.quantizer()
    return found


@torch.no_grad()
def quantized(weights: Values, setting: Setting) -> dict[str, Tensor]:
    """Weights by name after they were quantised and decoded.

    Raises:
        ValueError: One is constant or not finite, or has one weight an output for ``'channel'``.
    """
    quantizer = setting.quantizer()
    return {name: quantizer(weight) for name, weight in weights.items()}


def relative_error(weights: Values, values: Values) -> float:
    """Sum of squared errors of ``values`` over the sum of squares of ``weights``, by name."""
    lost = sum(float((values[n].double() - w.double()).square().sum()) for n, w in weights.items())
    return lost / sum(float(w.double().square().sum()) for w in weights.values())


def gaussian_error(bits: int, criterion: str) -> float:
    """Mean square error of the codebook on N(0, 1): the relative error of Gaussian weights."""
    levels, thresholds = gaussian_codebook(bits, criterion)
    ends = torch.tensor([math.inf], dtype=levels.dtype)
    edges = torch.cat([-ends, thresholds, ends])
    density = torch.exp(-edges.square() / 2) / math.sqrt(2 * math.pi)
    # Moments of N(0, 1) over each cell, of order 0, 1 and 2; x * density is 0 at both ends.
    mass = torch.special.ndtr(edges).diff()
    first = -density.diff()
    second = mass - (edges.nan_to_num(0, 0, 0) * density).diff()
    return float((second - 2 * levels * first + levels.square() * mass).sum())


def fits(weights: Values, setting: Setting) -> bool:
    """Whether there are weights enough for a standard deviation each."""
    alone = any(weight[0].numel() == 1 for weight in weights.values())
    return not (alone and setting.granularity == 'channel')


def stored_bytes(weights: Values, setting: Setting) -> int:
    """Bytes of codes and statistics in a task file."""
    return sum(_matrix_bytes(weight, setting) for weight in weights.values())


def _matrix_bytes(weight: Tensor, setting: Setting) -> int:
    statistics = setting.quantizer().statistics_count(weight.shape)
    return packed_bytes(weight.numel(), setting.bits) + STATISTICS_BYTES * statistics
