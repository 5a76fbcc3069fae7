"""Dual low-rank adapter: a bottleneck whose projections are sums of low-rank products."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters.base import Matrix, TokenAdapter
from mmqadapter.registry import MODELS


class LowRankLinear(nn.Module):
    """Linear layer whose weight is a sum of low-rank products, P1 Q1 + P2 Q2 + ..., with a bias.

    The factors of all products are stacked, [Q1; Q2; ...] in ``inner`` and [P1, P2, ...] in
    ``outer``: the same sum, in two matrix products however many there are.
    """

    def __init__(self, inputs: int, outputs: int, branches: int, rank: int) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, branches * rank, bias=False)
        self.outer = nn.Linear(branches * rank, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return F.linear(self.inner(x), self.outer_weight(), self.outer.bias)

    def outer_weight(self) -> Tensor:
        """Weight behind ``inner``: (outputs, branches * rank)."""
        return self.outer.weight


@MODELS.register_module()
class DualLowRankAdapter(TokenAdapter):
    """Bottleneck C -> C/2 -> C with GELU; both projections low-rank (arXiv 2306.09729).

    The published shape, deduced from the published counts: two products of rank 8 and a bias for
    each projection make 49.5 C parameters. In a block two of them, after attention and after the
    MLP.

    Args:
        channels: C, even, given by the block.
        branches: Number of low-rank products in a projection.
        rank: Rank of each product.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: ``branches`` or ``rank`` below 1, or an unknown ``scale``.
    """

    sites = ('attn_branch', 'mlp_branch')
    projection: ClassVar[type[LowRankLinear]] = LowRankLinear

    def __init__(
        self, channels: int, branches: int = 2, rank: int = 8, scale: float | str = 1.0
    ) -> None:
        super().__init__(scale)
        if branches < 1 or rank < 1:
            raise ValueError(
                f'branches={branches}, rank={rank} leave no weights; use 1 or more of each.'
            )
        self.down = self.projection(channels, channels // 2, branches, rank)
        self.activation = nn.GELU()
        self.up = self.projection(channels // 2, channels, branches, rank)
        self.reset_parameters()

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """The two factors of each projection."""
        return [(projection.inner, projection.outer) for projection in (self.down, self.up)]

    def ends(self) -> list[Matrix]:
        """The last factor alone: were the first projection zero too, no gradient would pass."""
        return [self.up.outer]

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """Between the factors of the second projection: (..., C) -> (..., branches * rank)."""
        return self.up.inner(self.activation(self.down(x)))

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """The last factor."""
        return self.up.outer_weight(), self.up.outer.bias
