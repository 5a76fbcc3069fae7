"""Separate products and one fused product."""

from __future__ import annotations

import pytest
import torch

from mmqadapter.interop.peft.products import FUSED, SEPARATE, Product, find_targets, join, split

C, R = 8, 3


def products(targets: tuple[str, ...]) -> dict[str, Product]:
    rows = 3 * C if targets == FUSED else C
    return {t: Product(torch.randn(R, C), torch.randn(rows, R)) for t in targets}


@pytest.mark.parametrize('targets', [*SEPARATE, FUSED], ids=''.join)
def test_joined_product_is_the_same_map_and_can_be_split(targets: tuple[str, ...]) -> None:
    parts = products(targets)
    joined = join(parts)
    assert joined.down.shape == (R * len(targets), C)
    assert joined.up.shape == (3 * C, R * len(targets))
    change = joined.up @ joined.down
    for name, rows in zip('qkv', change.chunk(3), strict=True):
        if targets != FUSED:
            expected = parts[name].up @ parts[name].down if name in parts else torch.zeros(C, C)
            torch.testing.assert_close(rows, expected)
    assert find_targets([joined, join(products(targets))]) == targets
    for name, part in split(joined, targets).items():
        assert torch.equal(part.down, parts[name].down) and torch.equal(part.up, parts[name].up)


def test_products_without_blocks_are_fused() -> None:
    q_and_v = join(products(('q', 'v')))
    assert find_targets([q_and_v, join(products(('k', 'v')))]) == FUSED
    q_and_v.up[-1, 0] = 1e-20
    assert find_targets([q_and_v]) == FUSED
    untrained = Product(torch.randn(4, C), torch.zeros(3 * C, 4))
    assert find_targets([untrained]) == FUSED
    # A product of zeros does not hide the targets of the others.
    assert find_targets(
        [join(products(('q', 'v'))), Product(torch.randn(6, C), untrained.up[:, :1].expand(-1, 6))]
    ) == ('q', 'v')


def test_target_without_a_change_is_not_found() -> None:
    parts = products(('q', 'v'))
    parts['v'].up.zero_()
    assert find_targets([join(parts)]) == ('q',)
