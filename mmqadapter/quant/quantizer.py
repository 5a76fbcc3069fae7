"""Low-bit weights for training: Gaussian codebook, straight-through gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.quant.codebook import CRITERIA, check_bits, gaussian_codebook
from mmqadapter.registry import MODELS

EPSILON = 1e-5
GRANULARITIES = ('tensor', 'channel')
# So many units in the last place of the mean cannot be told from rounding: no spread.
CONSTANT = 8


@dataclass(frozen=True)
class Encoded:
    """A quantised matrix as it is stored.

    Attributes:
        codes: uint8, shape of the matrix, indices into the ascending codebook.
        mean: float32, one per matrix (1, 1) or one per output channel, such as (out, 1).
        std: float32, unbiased, shape of ``mean``.
    """

    codes: Tensor
    mean: Tensor
    std: Tensor


@cache
def _codebook(bits: int, criterion: str, device: torch.device) -> tuple[Tensor, Tensor]:
    # They stay for trainings that come after a first use in inference mode.
    with torch.inference_mode(False):
        levels, thresholds = gaussian_codebook(bits, criterion)
        return levels.to(device, torch.float32), thresholds.to(device, torch.float32)


class _StraightThrough(torch.autograd.Function):
    """Quantise-dequantise with the published gradient, through mean and std as well.

    For a stack (n, out, in, ...) of weights of equal shape, each with statistics of its own. Kept
    for backward are the weights themselves, which are there anyway, and their codes.
    """

    @staticmethod
    def forward(ctx: Any, quantizer: GaussianQuantizer, *weights: Tensor) -> Tensor:
        levels, thresholds = _codebook(quantizer.bits, quantizer.criterion, weights[0].device)
        stack = torch.stack(weights)
        mean, std = quantizer.statistics(stack)
        codes = torch.bucketize((stack - mean) / (std + EPSILON), thresholds, out_int32=True)
        ctx.save_for_backward(mean, std, codes.to(torch.uint8), levels, *weights)
        ctx.dims = quantizer.stack_dims(stack)
        return levels[codes] * std + mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (mean, std, codes, levels, *weights) = grads, ctx.saved_tensors
        dims, centred = ctx.dims, torch.stack(weights) - mean
        count = centred.numel() // std.numel()
        ratio = std / (std + EPSILON)
        residual = levels[codes.int()] - ratio * centred / (std + EPSILON)
        # d std / d weight = centred / ((n - 1) std); d mean / d weight = 1 / n.
        through_std = (grad * residual).sum(dims, keepdim=True) * centred / ((count - 1) * std)
        through_mean = (1 - ratio) * grad.mean(dims, keepdim=True)
        return None, *(ratio * grad + through_std + through_mean).unbind()


class CachedWeight:
    """A quantised weight that was computed beforehand, with others; copies start without.

    It is of use as long as the latent weight has not changed since.
    """

    def __init__(self) -> None:
        self._value: Tensor | None = None
        self._version = 0

    def put(self, latent: Tensor, value: Tensor) -> None:
        """Keep the quantised ``value`` of a latent weight."""
        self._value, self._version = value, latent._version

    def get(self, latent: Tensor) -> Tensor | None:
        """The value of ``latent``; None if there is none, or it has changed since."""
        return self._value if self._value is not None and self._is_of(latent) else None

    def clear(self) -> None:
        """Forget it."""
        self._value = None

    def release(self, grad: Tensor) -> None:
        """Forget it, as a hook of the value's gradient."""
        self.clear()

    def _is_of(self, latent: Tensor) -> bool:
        value: Any = self._value
        return self._version == latent._version and value.device == latent.device

    def __reduce__(self) -> tuple[type[CachedWeight], tuple[()]]:
        """Neither the value nor its graph can be copied."""
        return CachedWeight, ()


@MODELS.register_module()
class GaussianQuantizer(nn.Module):
    """Parametrisation of a weight: normalise, nearest level, de-normalise (2307.16867, sec. 3.3).

    The latent weight stays float and is what the optimiser sees. A quantiser is *folded* when its
    weight came from a task file: it then gives the decoded weight, whatever the latent one is.

    Args:
        bits: Width of a stored weight, in bits: 1, 2, 4 or 8.
        criterion: ``'l1'`` (cell medians, published) or ``'l2'`` (cell means, Lloyd-Max).
        granularity: One mean and std per ``'tensor'`` or per output ``'channel'``.

    Raises:
        ValueError: An argument outside these values.
    """

    # Of a weight, the dimension that counts output channels.
    output_dim: int = 0
    # Mean and std are rounded to what is stored before they are used.
    statistics_dtype: torch.dtype = torch.float32
    _decoded: Tensor | None

    def __init__(self, bits: int, criterion: str = 'l1', granularity: str = 'tensor') -> None:
        super().__init__()
        check_bits(bits)
        if criterion not in CRITERIA:
            raise ValueError(f'criterion={criterion!r} is unknown; use one of {CRITERIA}.')
        if granularity not in GRANULARITIES:
            raise ValueError(f'granularity={granularity!r} is unknown; use one of {GRANULARITIES}.')
        self.bits, self.criterion, self.granularity = bits, criterion, granularity
        self.folded: Encoded | None = None
        self.cached = CachedWeight()
        self.register_buffer('_decoded', None, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Quantised value of the latent ``weight`` (out, in, ...), same shape and dtype.

        Raises:
            ValueError: ``weight`` is constant, or holds NaN or inf.
        """
        if self._decoded is not None:
            return self._decoded
        cached = self.cached.get(weight) if self.training else None
        return self.quantize([weight])[0] if cached is None else cached

    def quantize(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        """Quantised values of latent weights of one shape, dtype and device, in one call.

        Raises:
            ValueError: One of them is constant, or holds NaN or inf.
        """
        values = _StraightThrough.apply(self, *(weight.float() for weight in weights))
        return values.to(weights[0].dtype).unbind()

    def fold(self, encoded: Encoded | None, like: Tensor) -> None:
        """Give this stored matrix from now on, on the device and in the dtype of ``like``.

        None: quantise the latent weight again.
        """
        self.folded = encoded
        self._decoded = None if encoded is None else self.decode(encoded).to(like)

    @torch.no_grad()
    def encode(self, weight: Tensor) -> Encoded:
        """Codes and statistics to store; a folded quantiser returns those it was loaded with."""
        if self.folded is not None:
            return self.folded
        _, thresholds = _codebook(self.bits, self.criterion, weight.device)
        weight = weight.float()
        mean, std = (value[0] for value in self.statistics(weight[None]))
        codes = torch.bucketize((weight - mean) / (std + EPSILON), thresholds)
        return Encoded(codes.to(torch.uint8), mean, std)

    @torch.no_grad()
    def decode(self, encoded: Encoded) -> Tensor:
        """Weight (float32) of a stored matrix, bit for bit what :meth:`forward` gave."""
        levels, _ = _codebook(self.bits, self.criterion, encoded.codes.device)
        return levels[encoded.codes.int()] * encoded.std + encoded.mean

    @torch.no_grad()
    def latent(self, encoded: Encoded) -> Tensor:
        """A latent weight that quantises to ``encoded``, to go on training from a task file.

        The levels are standardised, so that mean and std are kept; at 1 bit the codes are kept
        for certain, at more bits but for a few at cell borders.
        """
        levels, _ = _codebook(self.bits, self.criterion, encoded.codes.device)
        values = levels[encoded.codes.int()]
        std, mean = torch.std_mean(values, self._dims(values), keepdim=True)
        return (values - mean) / std * encoded.std + encoded.mean

    def check(self, encoded: Encoded) -> None:
        """Refuse what no weight is encoded to.

        Raises:
            ValueError: A standard deviation of 0 or less, or the same code throughout.
        """
        dims = self._dims(encoded.codes)
        constant = encoded.codes.amax(dims) == encoded.codes.amin(dims)
        if bool((encoded.std <= 0).any()) or bool(constant.any()):
            raise ValueError('a quantised weight that does not vary was never written by us')

    def statistics_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of mean and of std for a weight of ``shape``."""
        return tuple(n if dim == self._kept_dim else 1 for dim, n in enumerate(shape))

    def statistics_count(self, shape: Sequence[int]) -> int:
        """Number of means (and of stds) for a weight of ``shape``."""
        return math.prod(self.statistics_shape(shape))

    def extra_repr(self) -> str:
        """Settings, for ``print(model)``."""
        settings = f'bits={self.bits}, criterion={self.criterion!r}'
        return f'{settings}, granularity={self.granularity!r}'

    @property
    def kind(self) -> tuple[Any, ...]:
        """What quantisers share that give equal values to equal weights."""
        return self.bits, self.criterion, self._kept_dim, self.statistics_dtype

    @property
    def _kept_dim(self) -> int | None:
        """The dimension along which statistics differ; None for one of each."""
        return self.output_dim if self.granularity == 'channel' else None

    def stack_dims(self, stack: Tensor) -> tuple[int, ...]:
        """Dimensions of a stack (n, out, in, ...) of weights that share a mean and a std."""
        return tuple(dim + 1 for dim in self._dims(stack[0]))

    def _dims(self, weight: Tensor) -> tuple[int, ...]:
        return tuple(dim for dim in range(weight.ndim) if dim != self._kept_dim)

    @torch.no_grad()
    def statistics(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and unbiased std of each weight of a stack (n, out, in, ...), float32, as stored.

        Raises:
            ValueError: A weight is constant, or holds NaN or inf.
        """
        both = torch.std_mean(stack, self.stack_dims(stack), keepdim=True)
        std, mean = (value.to(self.statistics_dtype).float() for value in both)
        constant = CONSTANT * torch.finfo(self.statistics_dtype).eps * mean.abs()
        if not bool((std.isfinite() & (std > constant)).all()):
            raise ValueError(
                f'a weight of shape {tuple(stack.shape[1:])} cannot be quantised: it is constant, '
                f'NaN or inf (mean {mean.flatten()[0]:.3g}, std {std.min():.3g}). Initialise it '
                'with random values; if it broke during training, lower the learning rate or clip '
                "gradients. granularity='channel' needs two weights or more for each output."
            )
        return mean, std
