"""What all adapters share: scale, initialisation, quantisation.

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

from mmqadapter.adapters.scale import LearnedScale, build_scale
from mmqadapter.quant import GaussianQuantizer
from mmqadapter.registry import build_own, require_config

# Truncated normal start of a quantised up-projection (arXiv 2307.16867, released code): a zero
# matrix has no spread to normalise by.
UP_STD = 1e-3
Matrix = nn.Linear | nn.Conv2d


class Adapter(nn.Module):
    """A small trainable module for blocks of ``channels`` channels.

    Subclasses name in ``sites`` where a block takes them (one instance a site; see
    :mod:`mmqadapter.backbones.sites`), build pairs of matrices and finish ``__init__`` with
    :meth:`reset_parameters`. Where ``spatial`` is set, they are called with the token grid (H, W)
    behind the tokens.

    Args:
        scale: Factor on the output: a number, or ``'learned'`` (one trained number).
    """

    sites: ClassVar[tuple[str, ...]]
    spatial: ClassVar[bool] = False

    def __init__(self, scale: float | str = 1.0) -> None:
        super().__init__()
        self.scale = build_scale(scale)

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """(down, up) matrices of each product, in the order in which their weights are stored."""
        raise NotImplementedError

    def matrices(self) -> list[Matrix]:
        """All weights that a quantiser may sit on, in the order in which they are stored."""
        return [layer for pair in self.pairs() for layer in pair]

    def ends(self) -> list[Matrix]:
        """Those of :meth:`matrices` that make the output zero by being zero: each second one."""
        return [up for _, up in self.pairs()]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Zero :meth:`ends` and biases, Kaiming-uniform for the rest: a zero output."""
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
        """Put every matrix behind a quantiser built from ``quantizer``.

        What ends an adapter cannot stay zero then; with a learned scale that starts at 0 the
        output still does, with a fixed one it starts elsewhere (the published form).
        """
        for layer in self.ends():
            nn.init.trunc_normal_(layer.weight, std=UP_STD, a=-2 * UP_STD, b=2 * UP_STD)
        quantize_matrices(self.matrices(), quantizer)
        if isinstance(self.scale, LearnedScale):
            nn.init.zeros_(self.scale.weight)


class TokenAdapter(Adapter):
    """An adapter from tokens to tokens: scale * (W z + b), where z is :meth:`hidden`.

    It has two parts, so that a highway can add to its stream without ever making the change alone.
    """

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """What the last projection reads: (B, L, C) -> (B, L, r)."""
        raise NotImplementedError

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """W (C, r) and b (C,), or None."""
        raise NotImplementedError

    def forward(self, x: Tensor, *grid: Any) -> Tensor:
        """Change to add: (B, L, C) -> (B, L, C)."""
        return self.scale(F.linear(self.hidden(x, *grid), *self.last_projection()))


def build_adapter(adapter: dict, quantizer: dict | None, **shape: Any) -> Adapter:
    """Adapter for a block, quantised if a quantiser other than 32 bits is given.

    Args:
        adapter: Config, such as ``dict(type='AdaptFormer', width=32)``.
        quantizer: Config, such as ``dict(type='GaussianQuantizer', bits=1)``; None for float.
        shape: What the block tells its adapter: ``channels``.

    Raises:
        ValueError: Unknown type or arguments.
    """
    built = build_own(adapter, **shape)
    if not isinstance(built, Adapter):
        raise ValueError(f'{adapter["type"]!r} is no adapter; use AdaptFormer, LoRA or the like.')
    if quantizer is not None and not is_float(quantizer):
        built.quantize(quantizer)
    return built


def quantize_matrices(layers: Iterable[Matrix], quantizer: dict) -> None:
    """Put the ``weight`` of each layer, as it is, behind a quantiser of its own.

    Raises:
        ValueError: Unknown type or arguments.
    """
    for layer in layers:
        parametrize.register_parametrization(layer, 'weight', _build_quantizer(quantizer))


def _build_quantizer(quantizer: dict) -> GaussianQuantizer:
    built = build_own(quantizer)
    if not isinstance(built, GaussianQuantizer):
        raise ValueError(f'{quantizer["type"]!r} is no quantiser; use GaussianQuantizer.')
    return built


def is_float(quantizer: dict | None) -> bool:
    """Whether a quantiser config means float weights: None, or 32 bits.

    Raises:
        ValueError: It is no config.
    """
    if quantizer is None:
        return True
    require_config('quantizer', quantizer)
    return quantizer.get('bits') == 32


class Bottleneck(TokenAdapter):
    """C -> r -> C with a non-linearity between; returns what is added, not the sum.

    Args:
        channels: C.
        width: r.
        activation: Non-linearity, dropout included, on the bottleneck.
        bias: Whether both projections have one.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: ``width`` below 1, or an unknown ``scale``.
    """

    def __init__(
        self, channels: int, width: int, activation: nn.Module, bias: bool, scale: float | str
    ) -> None:
        super().__init__(scale)
        if width < 1:
            raise ValueError(f'width={width} is no bottleneck; use 1 or more.')
        self.down = nn.Linear(channels, width, bias=bias)
        self.activation = activation
        self.up = nn.Linear(width, channels, bias=bias)
        self.reset_parameters()

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """The one pair."""
        return [(self.down, self.up)]

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """The bottleneck: (..., C) -> (..., r)."""
        return self.activation(self.down(x))

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """Up."""
        return self.up.weight, self.up.bias
