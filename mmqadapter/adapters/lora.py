"""LoRA on the query, key and value projections of attention."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.adapters.arguments import require_sizes
from mmqadapter.adapters.base import Adapter
from mmqadapter.registry import MODELS

PROJECTIONS = ('q', 'k', 'v')


class LowRank(nn.Module):
    """Product of two linear layers without bias, C -> r -> ``outputs``."""

    def __init__(self, channels: int, rank: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., outputs)."""
        return self.up(self.down(x))

    def weight(self) -> Tensor:
        """Return the product as one matrix (outputs, C)."""
        return self.up.weight @ self.down.weight


@MODELS.register_module()
class LoRA(Adapter):
    """Low-rank update of the projections to q, k and v (arXiv 2106.09685).

    A block gets one adapter. ``scale`` is ``alpha / rank`` of other libraries. Rank 64 on q and v
    gives 3,080,192 parameters in Swin-B and 4,620,288 in Swin-L (published: 3.03 M and 4.57 M).

    Args:
        channels: Channels C of the block.
        rank: Rank r of each product.
        targets: Those of ``'q'``, ``'k'``, ``'v'`` that get a product each (4 C r weights for q
            and v), or ``'qkv'``: one product for the fused projection.
        scale: Factor on the update: a number, or ``'learned'``.

    Raises:
        ValueError: An invalid argument.
    """

    sites = ('qkv',)

    def __init__(
        self,
        channels: int,
        rank: int,
        targets: str | Sequence[str] = ('q', 'v'),
        scale: float | str = 1.0,
    ) -> None:
        super().__init__(scale)
        fused = targets == 'qkv'
        require_sizes(rank=rank)
        if not fused and not _are_projections(targets):
            raise ValueError(
                f"targets={targets!r} is invalid: expected some of 'q', 'k', 'v', or 'qkv'."
            )
        names = ('qkv',) if fused else tuple(p for p in PROJECTIONS if p in targets)
        outputs = 3 * channels if fused else channels
        self.products = nn.ModuleDict({name: LowRank(channels, rank, outputs) for name in names})
        self.reset_parameters()

    def pairs(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Return one pair per product, in the order q, k, v."""
        return [(product.down, product.up) for _, product in self._named()]

    def forward(self, x: Tensor, projected: Tensor, part: str = 'qkv') -> Tensor:
        """Return ``projected`` (..., n C), the projection of ``x`` (..., C), with the update.

        Args:
            x: Input of the projection.
            projected: Its output.
            part: Which n of q, k and v it holds, in this order.
        """
        return self._add(projected, lambda product: product(x), -1, part)

    def merge(self, weight: Tensor, part: str = 'qkv') -> Tensor:
        """Return ``weight`` (n C, C), that of a projection of the trunk, with the update."""
        return self._add(weight, LowRank.weight, 0, part)

    def _named(self) -> Iterator[tuple[str, LowRank]]:
        for name, product in self.products.items():
            assert isinstance(product, LowRank)
            yield name, product

    def _add(
        self, base: Tensor, update: Callable[[LowRank], Tensor], dim: int, part: str
    ) -> Tensor:
        products = dict(self._named())
        if 'qkv' in products:
            first, size = 'qkv'.index(part), base.shape[dim]
            return base + self.scale(
                update(products['qkv']).narrow(dim, first * size // len(part), size)
            )
        slices = zip(part, base.chunk(len(part), dim), strict=True)
        return torch.cat(
            [t + self.scale(update(products[p])) if p in products else t for p, t in slices], dim
        )


def _are_projections(targets: Any) -> bool:
    known = isinstance(targets, Collection) and all(t in PROJECTIONS for t in targets)
    return known and len(targets) > 0
