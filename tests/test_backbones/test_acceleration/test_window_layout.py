"""WindowLayout: the windows and masks of padding, rolling and cutting by hand."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmqadapter.backbones.acceleration.window_layout import LayoutCache, WindowLayout, Windows

CPU = torch.device('cpu')
# Odd, smaller than a window, one row, exact multiple; shifts in no, both and one direction.
GRIDS = pytest.mark.parametrize('grid', [(9, 10), (3, 2), (1, 7), (8, 4)], ids=str)
SHIFTS = pytest.mark.parametrize('shift', [(0, 0), (2, 1), (0, 2), (3, 0)], ids=str)
ORDERS = pytest.mark.parametrize('pad_first', [True, False], ids=['pad-roll', 'roll-pad'])
SIZE = (4, 3)


def cut_by_hand(x: Tensor, windows: Windows) -> Tensor:
    """Pad and roll a map and cut it into windows: (B, H * W, C) -> (B, n, N, C)."""
    height, width = windows.size
    maps = x.unflatten(1, windows.grid)
    padding = (0, 0, 0, -windows.grid[1] % width, 0, -windows.grid[0] % height)
    shifts = (-windows.shift[0], -windows.shift[1])
    if windows.pad_first:
        maps = F.pad(maps, padding).roll(shifts, (1, 2))
    else:
        maps = F.pad(maps.roll(shifts, (1, 2)), padding)
    cut = [row.split(width, 2) for row in maps.split(height, 1)]
    return torch.stack([window.flatten(1, 2) for row in cut for window in row], 1)


def masks_by_hand(windows: Windows) -> Tensor:
    """Return the mask of each window (n, N, N), which separates opposite sides of the grid."""
    sides = []
    for length, size, shift in zip(windows.grid, windows.size, windows.shift, strict=True):
        padded = length + -length % size
        side = torch.zeros(padded)
        side[padded - shift :] = 1
        sides.append(side)
    regions = 2 * sides[0][:, None] + sides[1]
    whole = Windows(tuple(regions.shape), windows.size, (0, 0), True)
    regions = cut_by_hand(regions.flatten()[None, :, None], whole)[0, :, :, 0]
    return -100.0 * (regions[:, :, None] != regions[:, None])


@GRIDS
@SHIFTS
@ORDERS
def test_windows_and_masks(grid: tuple[int, int], shift: tuple[int, int], pad_first: bool) -> None:
    windows = Windows(grid, SIZE, shift, pad_first)
    x = torch.randn(2, grid[0] * grid[1], 5)
    layout = WindowLayout(windows, 2, CPU)
    split = layout.split(layout.rows(x))
    pairs = layout.groups(torch.stack([split] * 3))
    actual = [(w, m) for part, m in pairs for w in part[0].unflatten(0, (-1, 2))]
    by_hand = cut_by_hand(x, windows).transpose(0, 1)
    expected = list(zip(by_hand, masks_by_hand(windows), strict=True))
    assert len(actual) == len(expected)
    for window, mask in actual:
        # Windows differ by their random tokens, except those that are all padding.
        matches = [m for w, m in expected if torch.equal(w, window)]
        assert any(torch.equal(mask, m) for m in matches)
    assert torch.equal(layout.join(split), x)


@ORDERS
def test_gradients(pad_first: bool) -> None:
    layout = WindowLayout(Windows((5, 4), SIZE, (2, 1), pad_first), 2, CPU)
    rows = torch.randn(41, 3, dtype=torch.float64, requires_grad=True)  # the last row is padding
    assert torch.autograd.gradcheck(layout.split, rows)
    assert torch.autograd.gradgradcheck(layout.split, rows)
    windows = layout.split(rows).detach().requires_grad_()
    assert torch.autograd.gradcheck(layout.join, windows)


def test_cache_is_bounded_and_drops_the_least_recently_used() -> None:
    cache, tokens = LayoutCache(size=3), torch.zeros(1, 1)
    keys = [Windows((n, 4), SIZE, (0, 0), True) for n in range(1, 6)]
    first = cache.get(keys[0], tokens)
    for key in keys[1:]:
        cache.get(key, tokens)
        assert cache.get(keys[0], tokens) is first
    assert len(cache) == 3
    assert cache.get(keys[0], torch.zeros(2, 1)) is not first  # another batch size
    assert len(deepcopy(cache)) == 0


def test_a_layout_made_in_inference_mode_can_be_used_in_training() -> None:
    cache, windows = LayoutCache(), Windows((5, 4), SIZE, (2, 1), True)
    with torch.inference_mode():
        cache.get(windows, torch.zeros(1, 1))
    x = torch.randn(1, 20, 3, requires_grad=True)
    layout = cache.get(windows, x)
    layout.split(layout.rows(x)).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
