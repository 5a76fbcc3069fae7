"""Pieces: MLPs and windows over pieces of tokens give what one call gives, where they may."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.backbones.acceleration import piecewise, run_chunked
from mmqadapter.backbones.acceleration.window_layout import WindowLayout, Windows


class Counted(nn.Sequential):
    """An MLP that counts its calls."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@pytest.fixture
def mlp(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """A frozen MLP in pieces of 8 tokens."""
    monkeypatch.setattr(piecewise, 'PIECE', 8)
    built = Counted(nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 5)).requires_grad_(False)
    run_chunked([built])
    return built


def whole(mlp: nn.Sequential, x: Tensor) -> Tensor:
    return mlp[2](F.gelu(mlp[0](x)))


@pytest.mark.parametrize(
    ('shape', 'calls'), [((2, 10, 6), 3), ((2, 4, 4, 6), 4), ((8, 6), 1), ((9, 6), 2), ((0, 6), 1)]
)
def test_equals_one_call(mlp: Counted, shape: tuple[int, ...], calls: int) -> None:
    x = torch.randn(shape)
    torch.testing.assert_close(mlp(x), whole(mlp, x))
    assert mlp.calls == calls


def test_tokens_that_do_not_lie_side_by_side(mlp: Counted) -> None:
    x = torch.randn(2, 6, 10).transpose(1, 2)
    torch.testing.assert_close(mlp(x), whole(mlp, x))


def test_the_dtype_of_autocast_comes_out(mlp: Counted) -> None:
    x = torch.randn(2, 10, 6)
    with torch.autocast('cpu', torch.bfloat16):
        found, expected = mlp(x), whole(mlp, x)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def test_a_graph_takes_one_call_and_all_gradients(mlp: Counted) -> None:
    x = torch.randn(2, 10, 6, requires_grad=True)
    expected = torch.autograd.grad(whole(mlp, x).sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(mlp(x).sum(), x)[0], expected)
    assert mlp.calls == 1
    mlp[0].weight.requires_grad_(True)
    mlp(x.detach()).sum().backward()
    assert mlp.calls == 2 and mlp[0].weight.grad is not None
    with torch.no_grad():
        mlp(x)
    assert mlp.calls == 2 + 3


def test_another_device_takes_one_call(mlp: Counted) -> None:
    x = torch.randn(2, 10, 6, device='meta')
    assert mlp.to('meta')(x).shape == (2, 10, 5) and mlp.calls == 1


@pytest.mark.parametrize('pad_first', [True, False])
@pytest.mark.parametrize('grid', [(9, 10), (3, 2), (8, 12)], ids=str)
@pytest.mark.parametrize('shift', [(0, 0), (2, 1)], ids=str)
def test_pieces_of_windows_are_the_windows(
    grid: tuple[int, int], shift: tuple[int, int], pad_first: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        'mmqadapter.backbones.acceleration.window_layout.CHUNK', 24
    )  # two windows a piece
    layout = WindowLayout(Windows(grid, (4, 3), shift, pad_first), 2, torch.device('cpu'))
    x = torch.randn(2, grid[0] * grid[1], 5)
    rows, joined = x.flatten(0, 1), torch.full((2 * grid[0] * grid[1], 5), torch.nan)
    windows, masks = [], []
    for chunk in layout.chunks:
        split = chunk.split(chunk.take(rows))
        windows.append(split)
        masks += [chunk.mask] * len(split)
        joined[chunk.rows] = chunk.join(split)
    expected = layout.split(layout.rows(x))
    assert torch.equal(torch.cat(windows), expected) and max(map(len, windows)) <= 2
    assert torch.equal(joined.view_as(x), x)
    groups = layout.groups(expected[None])
    assert torch.equal(
        torch.stack(masks), torch.cat([m.expand(g.shape[1], -1, -1) for g, m in groups])
    )
