"""Separate products as one, and back."""

from __future__ import annotations

import pytest
import torch

from mmqadapter.interop.peft.products import FUSED, SEPARATE, Product, find_targets, join, split

C, R = 8, 3


def products(targets: tuple[str, ...]) -> dict[str, Product]:
    rows = 3 * C if targets == FUSED else C
    return {t: Product(torch.randn(R, C), torch.randn(rows, R)) for t in targets}


@pytest.mark.parametrize('targets', [*SEPARATE, FUSED], ids=''.join)
def test_the_joined_product_is_the_same_map_and_comes_apart(targets: tuple[str, ...]) -> None:
    parts = products(targets)
    whole = join(parts)
    assert whole.down.shape == (R * len(targets), C)
    assert whole.up.shape == (3 * C, R * len(targets))
    change = whole.up @ whole.down
    for name, rows in zip('qkv', change.chunk(3), strict=True):
        if targets != FUSED:
            expected = parts[name].up @ parts[name].down if name in parts else torch.zeros(C, C)
            torch.testing.assert_close(rows, expected)
    assert find_targets([whole, join(products(targets))]) == targets
    for name, part in split(whole, targets).items():
        assert torch.equal(part.down, parts[name].down) and torch.equal(part.up, parts[name].up)


def test_what_is_not_made_of_blocks_is_fused() -> None:
    q_and_v = join(products(('q', 'v')))
    assert find_targets([q_and_v, join(products(('k', 'v')))]) == FUSED
    q_and_v.up[-1, 0] = 1e-20
    assert find_targets([q_and_v]) == FUSED
    untrained = Product(torch.randn(4, C), torch.zeros(3 * C, 4))
    assert find_targets([untrained]) == FUSED
    # One block may have learned nothing.
    assert find_targets(
        [join(products(('q', 'v'))), Product(torch.randn(6, C), untrained.up[:, :1].expand(-1, 6))]
    ) == ('q', 'v')


def test_one_of_two_targets_that_moved_nowhere_is_not_guessed() -> None:
    parts = products(('q', 'v'))
    parts['v'].up.zero_()
    assert find_targets([join(parts)]) == ('q',)
