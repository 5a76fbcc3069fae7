"""AdaptFormer: a bottleneck parallel to the MLP."""

from __future__ import annotations

from torch import nn

from mmqadapter.adapters.arguments import require_dropout
from mmqadapter.adapters.base import Bottleneck
from mmqadapter.registry import MODELS


@MODELS.register_module()
class AdaptFormer(Bottleneck):
    """Bottleneck with ReLU that reads the residual stream before the MLP's norm.

    Published in arXiv 2205.13535; arXiv 2307.16867 quantizes the form without biases and with
    dropout on the bottleneck. A block gets one adapter of 2 C r weights, plus r + C biases if
    ``bias`` is set.

    Args:
        channels: Channels C of the block.
        width: Width r of the bottleneck.
        dropout: Dropout rate on the bottleneck, in [0, 1).
        bias: Whether both projections have a bias.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: An invalid argument.
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
        require_dropout(dropout)
        drop = nn.Dropout(dropout) if dropout else nn.Identity()
        super().__init__(channels, width, nn.Sequential(nn.ReLU(), drop), bias, scale)


@MODELS.register_module()
class NormedAdaptFormer(AdaptFormer):
    """AdaptFormer that reads the residual stream after the MLP's norm, as the MLP does.

    In deep blocks of a ViT a few tokens have values hundreds of times as large as all others
    (arXiv 2309.16588); before the norm these tokens would dominate what the bottleneck learns.
    """

    sites = ('mlp_parallel_normed',)
