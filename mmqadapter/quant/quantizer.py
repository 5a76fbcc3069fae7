"""Quantizer for training with low-bit weights: Gaussian codebook, straight-through gradient."""

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
# A weight counts as constant if its std is at most this many rounding units (eps) of its mean.
CONSTANT = 8
FEW_THRESHOLDS = 15  # of 4 bits


@dataclass(frozen=True)
class Encoded:
    """A quantized matrix as it is stored.

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
    # Cached tensors may be used in training later, which tensors of inference mode cannot be.
    with torch.inference_mode(False):
        levels, thresholds = gaussian_codebook(bits, criterion)
        return levels.to(device, torch.float32), thresholds.to(device, torch.float32)


def _mean_and_std(stack: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return mean and unbiased std; ``torch.std_mean`` is slower (benchmarks/quantizer_step.py)."""
    mean = stack.mean(dims, keepdim=True)
    squares = (stack - mean).square_().sum(dims, keepdim=True)
    return mean, (squares / (stack.numel() // mean.numel() - 1)).sqrt_()


def _nearest(values: Tensor, thresholds: Tensor) -> Tensor:
    """Return the code of each value (uint8): how many thresholds are below it.

    On a CPU few comparisons are faster than ``torch.bucketize`` (benchmarks/quantizer_step.py).
    """
    if len(thresholds) > FEW_THRESHOLDS:
        return torch.bucketize(values, thresholds, out_int32=True).to(torch.uint8)
    codes = (values > thresholds[0]).to(torch.uint8)
    for threshold in thresholds[1:]:
        codes += values > threshold
    return codes


def _look_up(levels: Tensor, codes: Tensor) -> Tensor:
    """Return the level of each code; ``levels[codes]`` is slower on a CPU."""
    return levels.index_select(0, codes.flatten().int()).view(codes.shape)


class _StraightThrough(torch.autograd.Function):
    """Quantization and dequantization with the published gradient, also through mean and std.

    It works on a stack (n, out, in, ...) of weights of equal shape, each with its own statistics.
    Activation memory (saved for backward): the codes, one byte per weight. The weights themselves
    are saved as well, but they exist anyway.
    """

    @staticmethod
    def forward(ctx: Any, quantizer: GaussianQuantizer, *weights: Tensor) -> Tensor:
        levels, thresholds = _codebook(quantizer.bits, quantizer.criterion, weights[0].device)
        stack = torch.stack(weights)
        mean, std = quantizer.statistics(stack)
        codes = _nearest((stack - mean) / (std + EPSILON), thresholds)
        ctx.save_for_backward(mean, std, codes, levels, *weights)
        ctx.dims = quantizer.stack_dims(stack)
        return _look_up(levels, codes) * std + mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (mean, std, codes, levels, *weights) = grads, ctx.saved_tensors
        centered = torch.stack(weights) - mean
        count = centered.numel() // std.numel()
        ratio = std / (std + EPSILON)
        residual = _look_up(levels, codes).addcmul_(-ratio / (std + EPSILON), centered)
        # d std / d weight = centered / ((n - 1) std); d mean / d weight = 1 / n.
        through_std = (grad * residual).sum(ctx.dims, keepdim=True) / ((count - 1) * std)
        through_mean = (1 - ratio) * grad.mean(ctx.dims, keepdim=True)
        return None, *(ratio * grad + through_mean).addcmul_(through_std, centered).unbind()


class CachedWeight:
    """Cache of the quantized value of one weight, computed beforehand together with others.

    The value is valid until the latent weight changes. A copy, deep or pickled, starts empty.
    """

    def __init__(self) -> None:
        self._value: Tensor | None = None
        self._version = 0

    def put(self, latent: Tensor, value: Tensor) -> None:
        """Cache the quantized ``value`` of a latent weight."""
        self._value, self._version = value, latent._version

    def get(self, latent: Tensor) -> Tensor | None:
        """Return the value of ``latent``; None if none is cached or ``latent`` has changed."""
        return self._value if self._value is not None and self._is_valid(latent) else None

    def clear(self) -> None:
        """Drop the value."""
        self._value = None

    def release(self, grad: Tensor) -> None:
        """Drop the value; a hook of the value's gradient."""
        self.clear()

    def _is_valid(self, latent: Tensor) -> bool:
        value: Any = self._value
        return self._version == latent._version and value.device == latent.device

    def __reduce__(self) -> tuple[type[CachedWeight], tuple[()]]:
        """Copy as an empty cache, since a value with a graph cannot be copied."""
        return CachedWeight, ()


@MODELS.register_module()
class GaussianQuantizer(nn.Module):
    """Quantizer of a weight to a Gaussian codebook (arXiv 2307.16867, sec. 3.3).

    As a parametrization it normalizes the weight, takes the nearest levels and undoes the
    normalization. The latent weight stays float and is what the optimizer trains. A quantizer is
    *folded* when its weight came from a task file: it then returns the decoded weight, whatever
    the latent weight is.

    Args:
        bits: Width of a stored weight, in bits: 1, 2, 4 or 8.
        criterion: ``'l1'`` (cell medians, published) or ``'l2'`` (cell means, Lloyd-Max).
        granularity: One mean and std per ``'tensor'`` or per output ``'channel'``.

    Raises:
        ValueError: An unknown value of an argument.
    """

    # Dimension of a weight that counts output channels.
    output_dim: int = 0
    # Mean and std are rounded to this dtype, in which they are stored, before they are used.
    statistics_dtype: torch.dtype = torch.float32
    _decoded: Tensor | None

    def __init__(self, bits: int, criterion: str = 'l1', granularity: str = 'tensor') -> None:
        super().__init__()
        check_bits(bits)
        if criterion not in CRITERIA:
            raise ValueError(f'criterion={criterion!r} is invalid: expected one of {CRITERIA}.')
        if granularity not in GRANULARITIES:
            raise ValueError(
                f'granularity={granularity!r} is invalid: expected one of {GRANULARITIES}.'
            )
        self.bits, self.criterion, self.granularity = bits, criterion, granularity
        self.folded: Encoded | None = None
        self.cached = CachedWeight()
        self.register_buffer('_decoded', None, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized value of a latent ``weight`` (out, in, ...), same shape and dtype.

        A weight that is constant, or holds NaN or inf, becomes NaN in training, where an error
        would make the CPU wait for a GPU in each step. The loss is then NaN, and
        :class:`mmqadapter.hooks.FiniteLossHook` names the weight.

        Raises:
            ValueError: Not in training: ``weight`` is constant, or holds NaN or inf.
        """
        if self._decoded is not None:
            return self._decoded
        if not self.training:
            self.check_weight(weight)
            return self.quantize([weight])[0]
        cached = self.cached.get(weight)
        return self.quantize([weight])[0] if cached is None else cached

    def quantize(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the quantized values of latent weights of one shape, dtype and device.

        A weight that :meth:`check_weight` refuses becomes NaN.
        """
        values = _StraightThrough.apply(self, *(weight.float() for weight in weights))
        return values.to(weights[0].dtype).unbind()

    def fold(self, encoded: Encoded | None, like: Tensor) -> None:
        """Return a stored matrix from now on, whatever the latent weight is.

        Args:
            encoded: The stored matrix; None to quantize the latent weight again.
            like: Tensor whose device and dtype the decoded matrix gets.
        """
        self.folded = encoded
        self._decoded = None if encoded is None else self.decode(encoded).to(like)

    @torch.no_grad()
    def check_weight(self, weight: Tensor) -> None:
        """Check that a latent weight can be quantized. It waits for a GPU.

        Raises:
            ValueError: ``weight`` is constant, or holds NaN or inf; or it is a vector and
                ``granularity`` is ``'channel'``.
        """
        if self._channel_dim is not None and weight.ndim < 2:
            raise ValueError(
                f'granularity={self.granularity!r} is invalid for a vector of one number per '
                "channel: use 'tensor'."
            )
        self._checked_statistics(weight)

    def _checked_statistics(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (value[0] for value in self.statistics(weight.float()[None]))
        if bool(std.isnan().any()):
            raise ValueError(
                f'a weight of shape {tuple(weight.shape)} cannot be quantized: it is constant, '
                f'NaN or inf (mean {mean.flatten()[0]:.3g}). Initialize it with random values; if '
                'this happened during training, lower the learning rate or clip gradients. '
                "granularity='channel' needs two or more weights per output channel."
            )
        return mean, std

    @torch.no_grad()
    def encode(self, weight: Tensor) -> Encoded:
        """Return codes and statistics to store; if folded, those that were loaded.

        Raises:
            ValueError: ``weight`` is constant, or holds NaN or inf.
        """
        if self.folded is not None:
            return self.folded
        mean, std = self._checked_statistics(weight)
        _, thresholds = _codebook(self.bits, self.criterion, weight.device)
        weight = weight.float()
        return Encoded(_nearest((weight - mean) / (std + EPSILON), thresholds), mean, std)

    @torch.no_grad()
    def decode(self, encoded: Encoded) -> Tensor:
        """Return the weight (float32) of a stored matrix, bit for bit that of :meth:`forward`."""
        levels, _ = _codebook(self.bits, self.criterion, encoded.codes.device)
        return _look_up(levels, encoded.codes) * encoded.std + encoded.mean

    @torch.no_grad()
    def latent(self, encoded: Encoded) -> Tensor:
        """Return a latent weight that quantizes to ``encoded``, to resume training.

        The levels are standardized, so that mean and std are preserved. At 1 bit all codes are
        preserved; at more bits a few at cell borders may change.
        """
        levels, _ = _codebook(self.bits, self.criterion, encoded.codes.device)
        values = _look_up(levels, encoded.codes)
        std, mean = torch.std_mean(values, self._dims(values), keepdim=True)
        return (values - mean) / std * encoded.std + encoded.mean

    def check(self, encoded: Encoded) -> None:
        """Check that ``encoded`` can be the result of :meth:`encode`.

        Raises:
            ValueError: A std is 0 or less, or all codes that share a mean and std are equal.
        """
        dims = self._dims(encoded.codes)
        constant = encoded.codes.amax(dims) == encoded.codes.amin(dims)
        if bool((encoded.std <= 0).any()) or bool(constant.any()):
            raise ValueError(
                'a quantized weight that does not vary is invalid: expected a positive std and two '
                'or more different codes. The file is damaged; save it again.'
            )

    def statistics_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the mean and of the std of a weight of ``shape``."""
        return tuple(n if dim == self._channel_dim else 1 for dim, n in enumerate(shape))

    def statistics_count(self, shape: Sequence[int]) -> int:
        """Return the number of means (and of stds) of a weight of ``shape``."""
        return math.prod(self.statistics_shape(shape))

    def extra_repr(self) -> str:
        """Return the settings, for ``print(model)``."""
        settings = f'bits={self.bits}, criterion={self.criterion!r}'
        return f'{settings}, granularity={self.granularity!r}'

    @property
    def kind(self) -> tuple[Any, ...]:
        """Key that is equal for quantizers that give equal values for equal weights."""
        return self.bits, self.criterion, self._channel_dim, self.statistics_dtype

    @property
    def _channel_dim(self) -> int | None:
        """Dimension along which statistics differ; None for one mean and std per weight."""
        return self.output_dim if self.granularity == 'channel' else None

    def stack_dims(self, stack: Tensor) -> tuple[int, ...]:
        """Return the dimensions of a stack (n, out, in, ...) over which mean and std are taken."""
        return tuple(dim + 1 for dim in self._dims(stack[0]))

    def _dims(self, weight: Tensor) -> tuple[int, ...]:
        return tuple(dim for dim in range(weight.ndim) if dim != self._channel_dim)

    @torch.no_grad()
    def statistics(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and unbiased std of each weight of a stack (n, out, in, ...), float32.

        Both are rounded to the dtype in which they are stored. The std is NaN where a weight is
        constant, or holds NaN or inf.
        """
        mean, std = (
            value.to(self.statistics_dtype).float()
            for value in _mean_and_std(stack, self.stack_dims(stack))
        )
        constant = CONSTANT * torch.finfo(self.statistics_dtype).eps * mean.abs()
        return mean, std.where(std.isfinite() & (std > constant), torch.nan)
