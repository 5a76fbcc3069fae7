"""Tokens as a grid: class tokens, patches, maps."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mmqadapter.utils.token_grid import grid_tokens, patch_weights, to_map, to_patches


@pytest.mark.parametrize('leading', [0, 1, 5])
def test_leading_tokens_are_skipped(leading: int) -> None:
    tokens = torch.randn(2, leading + 12, 4)
    assert torch.equal(grid_tokens(tokens, (3, 4)), tokens[:, leading:])


def test_too_few_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match='11 tokens do not fill a grid of 3 x 4'):
        grid_tokens(torch.randn(2, 11, 4), (3, 4))


def test_map_has_tokens_row_by_row() -> None:
    tokens = torch.arange(6.0).view(1, 6, 1)
    assert to_map(tokens, (2, 3)).tolist() == [[[[0, 1, 2], [3, 4, 5]]]]
    assert to_map(torch.randn(2, 6, 5), (2, 3)).is_contiguous()


@pytest.mark.parametrize('grid', [(4, 6), (3, 5), (1, 1), (5, 2)])
def test_patches_are_those_of_unfold(grid: tuple[int, int]) -> None:
    height, width = grid
    tokens = torch.randn(2, height * width, 3)
    padded = F.pad(to_map(tokens, grid), (0, width % 2, 0, height % 2))
    expected = F.unfold(padded, 2, stride=2).transpose(1, 2)
    by_token = expected.unflatten(2, (3, 4)).transpose(2, 3).flatten(2)
    assert torch.equal(to_patches(tokens, grid), by_token)


@pytest.mark.parametrize(
    ('order', 'axes'),
    [
        ('row column channel', (0, 1, 2, 3)),
        ('column row channel', (0, 2, 1, 3)),
        ('channel row column', (0, 3, 1, 2)),
    ],
)
def test_weights_of_patches_in_another_order(order: str, axes: tuple[int, ...]) -> None:
    patches, weight = torch.randn(7, 2, 2, 3), torch.randn(5, 12)  # row, column, channel
    expected = patches.permute(axes).flatten(1) @ weight.T
    torch.testing.assert_close(patches.flatten(1) @ patch_weights(weight, order).T, expected)
