"""Separate products for q, k and v as one product for the fused projection, and back.

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
# Fewest weights first.
SEPARATE = tuple(chain.from_iterable(combinations(PROJECTIONS, count) for count in (1, 2, 3)))


class Product(NamedTuple):
    """A low-rank change of a weight: ``up @ down``.

    Attributes:
        down: PEFT's A, (rank, C).
        up: PEFT's B, (outputs, rank).
    """

    down: Tensor
    up: Tensor


def join(products: Mapping[str, Product]) -> Product:
    """One product for the fused projection, of those for ``'qkv'`` or for some of q, k and v."""
    if tuple(products) == FUSED:
        return products['qkv']
    channels = next(iter(products.values())).up.shape[0]
    nothing = torch.empty(channels, 0)
    # block_diag leaves a zero block of rows where a projection has no product.
    rows = [products[p].up if p in products else nothing for p in PROJECTIONS]
    downs = [products[p].down for p in PROJECTIONS if p in products]
    return Product(torch.cat(downs), torch.block_diag(*rows))


def split(product: Product, targets: Sequence[str]) -> dict[str, Product]:
    """Inverse of :func:`join`: a product of its own for each of ``targets``."""
    if tuple(targets) == FUSED:
        return {'qkv': product}
    count = len(targets)
    downs, columns = product.down.chunk(count), product.up.chunk(count, 1)
    rows = [PROJECTIONS.index(target) for target in targets]
    ups = [part.chunk(3)[row] for row, part in zip(rows, columns, strict=True)]
    return {t: Product(*parts) for t, *parts in zip(targets, downs, ups, strict=True)}


def find_targets(products: Sequence[Product]) -> tuple[str, ...]:
    """Targets that all these fused products are made of; ``('qkv',)`` where they are not blocks.

    A target counts where one of the products changes it; an untrained LoRA (all zeros) is fused.
    """
    return next((t for t in SEPARATE if _made_of(products, t)), FUSED)


def _made_of(products: Sequence[Product], targets: tuple[str, ...]) -> bool:
    if any(product.down.shape[0] % len(targets) for product in products):
        return False
    parts = [split(product, targets) for product in products]
    whole = all(
        torch.equal(join(part).up, product.up)
        for part, product in zip(parts, products, strict=True)
    )
    return whole and all(any(bool(part[t].up.any()) for part in parts) for t in targets)
