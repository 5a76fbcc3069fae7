"""Conversion between separate products for q, k and v and one for the fused projection.

With A_p (r, C) and B_p (C, r) for each target p, the fused product has A = [A_q; A_v] (2 r, C) and
the block-structured B = [B_q 0; 0 0; 0 B_v] (3 C, 2 r): the same map, to the last bit of a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from typing import NamedTuple

import torch
from torch import Tensor

from mmqadapter.adapters.lora import PROJECTIONS

FUSED = ('qkv',)
# Sets of separate targets, those with the fewest weights first.
SEPARATE = tuple(chain.from_iterable(combinations(PROJECTIONS, count) for count in (1, 2, 3)))


class Product(NamedTuple):
    """Low-rank change of a weight: ``up @ down``.

    Attributes:
        down: PEFT's A, (rank, C).
        up: PEFT's B, (outputs, rank).
    """

    down: Tensor
    up: Tensor


def join(products: Mapping[str, Product]) -> Product:
    """Return one product for the fused projection.

    Args:
        products: Products by target: either ``'qkv'`` alone, or some of q, k and v.
    """
    if tuple(products) == FUSED:
        return products['qkv']
    channels = next(iter(products.values())).up.shape[0]
    no_columns = torch.empty(channels, 0)
    # block_diag leaves zero rows where a projection has no product.
    ups = [products[p].up if p in products else no_columns for p in PROJECTIONS]
    downs = [products[p].down for p in PROJECTIONS if p in products]
    return Product(torch.cat(downs), torch.block_diag(*ups))


def split(product: Product, targets: Sequence[str]) -> dict[str, Product]:
    """Return a separate product for each of ``targets``: the inverse of :func:`join`."""
    if tuple(targets) == FUSED:
        return {'qkv': product}
    count = len(targets)
    downs, columns = product.down.chunk(count), product.up.chunk(count, 1)
    rows = [PROJECTIONS.index(target) for target in targets]
    ups = [block.chunk(3)[row] for row, block in zip(rows, columns, strict=True)]
    return {t: Product(*factors) for t, *factors in zip(targets, downs, ups, strict=True)}


def find_targets(products: Sequence[Product]) -> tuple[str, ...]:
    """Return the targets whose separate products make up all of these fused ones.

    ``('qkv',)`` if the products have no such blocks. A target counts only if at least one of the
    products changes it; an untrained LoRA (all zeros) counts as fused.
    """
    return next((t for t in SEPARATE if _consist_of(products, t)), FUSED)


def _consist_of(products: Sequence[Product], targets: tuple[str, ...]) -> bool:
    if any(product.down.shape[0] % len(targets) for product in products):
        return False
    parts = [split(product, targets) for product in products]
    complete = all(
        torch.equal(join(part).up, product.up)
        for part, product in zip(parts, products, strict=True)
    )
    return complete and all(any(bool(part[t].up.any()) for part in parts) for t in targets)
