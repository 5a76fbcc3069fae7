"""AdaptFormer: a bottleneck parallel to the MLP."""

from __future__ import annotations

from torch import nn

from mmqadapter.adapters.base import Bottleneck
from mmqadapter.registry import MODELS


@MODELS.register_module()
class AdaptFormer(Bottleneck):
    """Bottleneck with ReLU that reads the stream before the MLP's norm (arXiv 2205.13535).

    The bias-free form with dropout on the bottleneck is the one that arXiv 2307.16867 quantises.
    One per block: 2 C r weights, and r + C biases where asked for.

    Args:
        channels: C, given by the block.
        width: Width r of the bottleneck.
        dropout: Rate on the bottleneck, in [0, 1).
        bias: Whether both projections have a bias.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: An argument outside these values.
    """

    sites = ('mlp_parallel',)

    def __init__(
        self,
        channels: int,
        width: int,
        dropout: float = 0.1,
        bias: bool = False,
        scale: float | str = 1.0,
    ) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout={dropout} is no rate; use a number in [0, 1).')
        drop = nn.Dropout(dropout) if dropout else nn.Identity()
        super().__init__(channels, width, nn.Sequential(nn.ReLU(), drop), bias, scale)


@MODELS.register_module()
class NormedAdaptFormer(AdaptFormer):
    """AdaptFormer that reads the stream behind the MLP's norm, as the MLP does.

    In deep blocks of a ViT a few tokens carry values hundreds of times as large as the others
    (arXiv 2309.16588); before the norm these tokens decide what the bottleneck learns.
    """

    sites = ('mlp_parallel_normed',)
