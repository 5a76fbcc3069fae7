"""LoRand: a bottleneck whose projections are sums of low-rank products with core matrices."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmqadapter.adapters.dual_low_rank import DualLowRankAdapter, LowRankLinear
from mmqadapter.registry import MODELS


class CoredLinear(LowRankLinear):
    """Linear layer with a bias whose weight is P1 K1 Q1 + P2 K2 Q2 + ...

    ``outer`` stacks the factors P, ``inner`` the factors Q, and ``cores`` lists the square matrices
    K (rank, rank) between them.
    """

    def __init__(self, inputs: int, outputs: int, branches: int, rank: int) -> None:
        super().__init__(inputs, outputs, branches, rank)
        # Never quantized: a core has few weights, which give each direction of a low-bit product
        # its own size.
        self.cores = nn.ParameterList(torch.empty(rank, rank) for _ in range(branches))
        for core in self.cores:
            nn.init.kaiming_uniform_(core, a=math.sqrt(5))

    def outer_weight(self) -> Tensor:
        """Return [P1 K1, P2 K2, ...] of shape (outputs, branches * rank).

        Cores are multiplied with weights, not with tokens: this adds no activation memory (saved
        for backward) per token.
        """
        factors = self.outer.weight.chunk(len(self.cores), 1)
        products = [factor @ core for factor, core in zip(factors, self.cores, strict=True)]
        return torch.cat(products, 1)


@MODELS.register_module()
class LoRand(DualLowRankAdapter):
    """Bottleneck C -> C/2 -> C with GELU and low-rank projections with cores (arXiv 2303.15112).

    Each branch of each projection has its own core, as in the released code: two branches of rank 8
    give 49.5 C + 256 parameters. A block gets two adapters, after attention and after the MLP:
    1,203,456 parameters in Swin-B, 1,799,040 in Swin-L. The released code initializes all factors
    at random; here the last one is zero in float. P and Q can be quantized; cores stay float.

    Args:
        channels: Channels C of the block, an even number.
        branches: Number of products per projection; two and four are published.
        rank: Rank of each product.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: ``branches`` or ``rank`` below 1, or an invalid ``scale``.
    """

    projection = CoredLinear
