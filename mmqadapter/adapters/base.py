"""Base classes of adapters: scale, initialization and quantization.

Shapes: B batch, L tokens, C channels, r width or rank of the bottleneck.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from mmqadapter.adapters.arguments import require_flag, require_sizes
from mmqadapter.adapters.scale import LearnedScale, build_scale
from mmqadapter.quant import GaussianQuantizer
from mmqadapter.registry import build_own, require_config

# Std of the truncated normal from which quantized up-projections start (arXiv 2307.16867, released
# code): a zero matrix has no std to normalize by.
UP_STD = 1e-3
Matrix = nn.Linear | nn.Conv2d


class Adapter(nn.Module):
    """Base of all adapters: a small trainable module for blocks of ``channels`` channels.

    Subclasses name in ``sites`` where they enter a block (one instance per site; see
    :mod:`mmqadapter.backbones.sites`), build pairs of matrices and call :meth:`reset_parameters`
    at the end of ``__init__``. If ``spatial`` is set, they are called with the token grid (H, W) as
    second argument.

    Args:
        scale: Factor on the output: a number, or ``'learned'`` (one trained number).
    """

    sites: ClassVar[tuple[str, ...]]
    spatial: ClassVar[bool] = False

    def __init__(self, scale: float | str = 1.0) -> None:
        super().__init__()
        self.scale = build_scale(scale)

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Return the (down, up) layers of each product, in the order of storage."""
        raise NotImplementedError

    def matrices(self) -> list[Matrix]:
        """Return all layers whose weights can be quantized, in the order of storage."""
        return [layer for pair in self.pairs() for layer in pair]

    def ends(self) -> list[Matrix]:
        """Return the layers that start at zero, so that the output is zero: all up-projections."""
        return [up for _, up in self.pairs()]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialize :meth:`ends` and biases to zero, other matrices Kaiming-uniform."""
        ends = self.ends()
        for layer in self.matrices():
            if layer in ends:
                nn.init.zeros_(layer.weight)
            else:
                nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def quantize(self, quantizer: dict) -> None:
        """Parametrize every matrix with a quantizer built from the config ``quantizer``.

        :meth:`ends` cannot be zero then. With a learned scale, which is set to 0, the output still
        starts at zero; with a fixed scale it does not (the published form).
        """
        for layer in self.ends():
            nn.init.trunc_normal_(layer.weight, std=UP_STD, a=-2 * UP_STD, b=2 * UP_STD)
        quantize_matrices(self.matrices(), quantizer)
        if isinstance(self.scale, LearnedScale):
            nn.init.zeros_(self.scale.weight)


class TokenAdapter(Adapter):
    """Base of adapters from tokens to tokens: scale * (W z + b), where z is :meth:`hidden`.

    The two parts are separate, so that a highway can add the output to its side stream without
    creating it as a tensor of its own.
    """

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """Return z, the input of the last projection: (B, L, C) -> (B, L, r)."""
        raise NotImplementedError

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """Return W (C, r) and b (C,); None instead of b if there is no bias."""
        raise NotImplementedError

    def forward(self, x: Tensor, *grid: Any) -> Tensor:
        """Return what is to be added to the tokens: (B, L, C) -> (B, L, C)."""
        return self.scale(F.linear(self.hidden(x, *grid), *self.last_projection()))


def build_adapter(adapter: dict, quantizer: dict | None, **shape: Any) -> Adapter:
    """Build an adapter for a block; quantize it unless ``quantizer`` means float.

    Args:
        adapter: Config, such as ``dict(type='AdaptFormer', width=32)``.
        quantizer: Config, such as ``dict(type='GaussianQuantizer', bits=1)``; None or 32 bits
            for float.
        shape: Arguments that depend on the block: ``channels``.

    Raises:
        ValueError: Unknown type or arguments.
    """
    built = build_own('adapter', adapter, **shape)
    if not isinstance(built, Adapter):
        raise ValueError(
            f'adapter type {adapter["type"]!r} is invalid: expected an adapter, such as LoRA.'
        )
    if quantizer is not None and not is_float(quantizer):
        built.quantize(quantizer)
    return built


def quantize_matrices(layers: Iterable[Matrix], quantizer: dict) -> None:
    """Parametrize the ``weight`` of each layer with a quantizer of its own.

    Raises:
        ValueError: Unknown type or arguments, or a weight that cannot be quantized.
    """
    for layer in layers:
        built = _build_quantizer(quantizer)
        built.check_weight(layer.weight)
        parametrize.register_parametrization(layer, 'weight', built)


def _build_quantizer(quantizer: dict) -> GaussianQuantizer:
    built = build_own('quantizer', quantizer)
    if not isinstance(built, GaussianQuantizer):
        raise ValueError(
            f'quantizer type {quantizer["type"]!r} is invalid: expected GaussianQuantizer.'
        )
    return built


def is_float(quantizer: dict | None) -> bool:
    """Return whether a quantizer config means float weights: None, or 32 bits.

    Raises:
        ValueError: ``quantizer`` is neither None nor a config.
    """
    if quantizer is None:
        return True
    require_config('quantizer', quantizer)
    return quantizer.get('bits') == 32


class Bottleneck(TokenAdapter):
    """Two projections C -> r -> C with a non-linearity between them, without the residual sum.

    Args:
        channels: C.
        width: r.
        activation: Non-linearity on the bottleneck, including dropout.
        bias: Whether both projections have a bias.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: An invalid argument.
    """

    def __init__(
        self, channels: int, width: int, activation: nn.Module, bias: bool, scale: float | str
    ) -> None:
        super().__init__(scale)
        require_sizes(width=width)
        require_flag(bias=bias)
        self.down = nn.Linear(channels, width, bias=bias)
        self.activation = activation
        self.up = nn.Linear(width, channels, bias=bias)
        self.reset_parameters()

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Return the only pair."""
        return [(self.down, self.up)]

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """Return the activated bottleneck: (..., C) -> (..., r)."""
        return self.activation(self.down(x))

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias of the up-projection."""
        return self.up.weight, self.up.bias
