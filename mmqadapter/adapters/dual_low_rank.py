"""Dual low-rank adapter: a bottleneck whose projections are sums of low-rank products."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters.arguments import require_sizes
from mmqadapter.adapters.base import Matrix, TokenAdapter
from mmqadapter.registry import MODELS


class LowRankLinear(nn.Module):
    """Linear layer with a bias whose weight is a sum of low-rank products, P1 Q1 + P2 Q2 + ...

    The factors are stacked, [Q1; Q2; ...] in ``inner`` and [P1, P2, ...] in ``outer``, so that any
    number of products takes two matrix multiplications.
    """

    def __init__(self, inputs: int, outputs: int, branches: int, rank: int) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, branches * rank, bias=False)
        self.outer = nn.Linear(branches * rank, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return F.linear(self.inner(x), self.outer_weight(), self.outer.bias)

    def outer_weight(self) -> Tensor:
        """Return the weight that follows ``inner``: (outputs, branches * rank)."""
        return self.outer.weight


@MODELS.register_module()
class DualLowRankAdapter(TokenAdapter):
    """Bottleneck C -> C/2 -> C with GELU and low-rank projections (arXiv 2306.09729).

    The defaults are deduced from the published parameter counts: two products of rank 8 and a bias
    per projection, 49.5 C parameters. A block gets two adapters, after attention and after the MLP.

    Args:
        channels: Channels C of the block, an even number.
        branches: Number of low-rank products per projection.
        rank: Rank of each product.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: ``branches`` or ``rank`` below 1, or an invalid ``scale``.
    """

    sites = ('attn_branch', 'mlp_branch')
    projection: ClassVar[type[LowRankLinear]] = LowRankLinear

    def __init__(
        self, channels: int, branches: int = 2, rank: int = 8, scale: float | str = 1.0
    ) -> None:
        super().__init__(scale)
        require_sizes(branches=branches, rank=rank)
        self.down = self.projection(channels, channels // 2, branches, rank)
        self.activation = nn.GELU()
        self.up = self.projection(channels // 2, channels, branches, rank)
        self.reset_parameters()

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Return the two factors of each projection."""
        return [(projection.inner, projection.outer) for projection in (self.down, self.up)]

    def ends(self) -> list[Matrix]:
        """Return the last factor only; if both projections were zero, no gradient would pass."""
        return [self.up.outer]

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """Return the input of the last factor: (..., C) -> (..., branches * rank)."""
        return self.up.inner(self.activation(self.down(x)))

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias of the last factor."""
        return self.up.outer_weight(), self.up.outer.bias
