"""LoRand: a bottleneck whose projections are sums of low-rank products with a core each."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmqadapter.adapters.dual_low_rank import DualLowRankAdapter, LowRankLinear
from mmqadapter.registry import MODELS


class CoredLinear(LowRankLinear):
    """Linear layer whose weight is P1 K1 Q1 + P2 K2 Q2 + ..., with a bias.

    The outer factors P are stacked in ``outer`` and the inner ones Q in ``inner``; ``cores`` has
    the square matrices K between them, (rank, rank) each.
    """

    def __init__(self, inputs: int, outputs: int, branches: int, rank: int) -> None:
        super().__init__(inputs, outputs, branches, rank)
        # Never quantised: by its few weights a core gives each direction of a low-bit product a
        # size of its own.
        self.cores = nn.ParameterList(torch.empty(rank, rank) for _ in range(branches))
        for core in self.cores:
            nn.init.kaiming_uniform_(core, a=math.sqrt(5))

    def outer_weight(self) -> Tensor:
        """[P1 K1, P2 K2, ...] of shape (outputs, branches * rank).

        The product is one of weights, so that nothing more is kept for each token.
        """
        parts = self.outer.weight.chunk(len(self.cores), 1)
        cored = [part @ core for part, core in zip(parts, self.cores, strict=True)]
        return torch.cat(cored, 1)


@MODELS.register_module()
class LoRand(DualLowRankAdapter):
    """Bottleneck C -> C/2 -> C with GELU; both projections low-rank with cores (arXiv 2303.15112).

    Each branch of each projection has a core of its own, as in the released code: with two
    branches of rank 8, 49.5 C + 256 parameters. In a block two of them, after attention and after
    the MLP: 1,203,456 in Swin-B, 1,799,040 in Swin-L. The released code starts all factors at
    random; here the last one is zero in float. A quantiser takes P and Q; cores stay float.

    Args:
        channels: C, even, given by the block.
        branches: Number of products in a projection; two or four are published.
        rank: Rank of each product.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: ``branches`` or ``rank`` below 1, or an unknown ``scale``.
    """

    projection = CoredLinear
