"""Mergings of the side stream: the trunk's own weights, linear, zero at zero, no blow-up."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from mmseg.models.utils.embed import PatchMerging as MMPatchMerging
from timm.models.swin_transformer import PatchMerging as TimmPatchMerging
from torch import Tensor, nn

from mmqadapter.highway import InheritedMerging, LowRankMerging
from mmqadapter.highway.downsample import patch_std
from mmqadapter.quant import quantized_weights
from mmqadapter.utils.accounting import saved_for_backward

GRIDS = pytest.mark.parametrize('grid', [(4, 6), (5, 3)])
KINDS = pytest.mark.parametrize('kind', ['mm', 'timm'])


def stock(kind: str) -> Any:
    """Build a trunk's merging, 6 -> 12 channels, with weights that are all different."""
    merging = MMPatchMerging(6, 12) if kind == 'mm' else TimmPatchMerging(6)
    for parameter in merging.parameters():
        nn.init.normal_(parameter, 1, 0.3)
    return merging.requires_grad_(False)


def call(merging: Any, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Call a stock merging of either library on tokens (B, L, C)."""
    if isinstance(merging, MMPatchMerging):
        return merging(tokens, grid)[0]
    return merging(tokens.unflatten(1, grid)).flatten(1, 2)


def inherited(merging: Any) -> InheritedMerging:
    orders = {MMPatchMerging: 'channel row column', TimmPatchMerging: 'column row channel'}
    return InheritedMerging(merging.norm, merging.reduction, orders[type(merging)])


class FixedNormalization(nn.Module):
    """Stand-in for a LayerNorm: its weight over the deviations of other tokens."""

    def __init__(self, norm: nn.LayerNorm, x: Tensor) -> None:
        super().__init__()
        self.norm, self.std = norm, (x.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.norm.weight / self.std


@GRIDS
@KINDS
def test_is_the_stock_merging_without_its_normalization(kind: str, grid: tuple[int, int]) -> None:
    merging, tokens = stock(kind), grid[0] * grid[1]
    trunk, h = 3 + 2 * torch.randn(2, tokens, 6), torch.randn(2, tokens, 6)
    seen: list[Tensor] = []
    merging.norm.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    call(merging, trunk, grid)
    reference = deepcopy(merging)
    reference.norm = FixedNormalization(merging.norm, seen[0])
    expected = call(reference, h, grid)
    torch.testing.assert_close(inherited(merging)(h, trunk, grid), expected)


@KINDS
def test_is_close_to_the_stock_merging_for_a_small_change_without_a_mean(kind: str) -> None:
    """A LayerNorm is linear in changes without mean that are orthogonal to its input."""
    merging, x = stock(kind).double(), torch.randn(1, 4, 6).double()
    h = torch.randn(24).double()
    for direction in (torch.ones(24).double(), x.flatten() - x.mean()):
        direction = direction / direction.norm()
        h = h - (h @ direction) * direction
    h = 1e-3 * h.view(1, 4, 6)
    difference = call(merging, x + h, (2, 2)) - call(merging, x, (2, 2))
    torch.testing.assert_close(inherited(merging)(h, x, (2, 2)), difference, rtol=0.02, atol=1e-6)


@GRIDS
@KINDS
@pytest.mark.parametrize('bits', [0, 32])
def test_linear_and_zero_at_zero(kind: str, grid: tuple[int, int], bits: int) -> None:
    merging = inherited(stock(kind)) if bits == 0 else LowRankMerging(6, 12, rank=3)
    a, b, trunk = torch.randn(3, 2, grid[0] * grid[1], 6)
    assert not merging(torch.zeros_like(a), trunk, grid).any()
    total = merging(2 * a - 3 * b, trunk, grid)
    parts = 2 * merging(a, trunk, grid) - 3 * merging(b, trunk, grid)
    torch.testing.assert_close(total, parts, rtol=1e-4, atol=1e-4)


def test_gradient_at_zero_is_far_below_that_of_the_stock_merging() -> None:
    merging, zeros = stock('mm'), torch.zeros(1, 16, 6, requires_grad=True)
    trunk, direction = 2 * torch.randn(1, 16, 6), torch.randn(1, 4, 12)
    (stock_grad,) = torch.autograd.grad(call(merging, zeros, (4, 4)), zeros, direction)
    (grad,) = torch.autograd.grad(inherited(merging)(zeros, trunk, (4, 4)), zeros, direction)
    assert stock_grad.norm() > 100 * grad.norm() > 0


def test_half_precision_gradient_through_three_mergings_is_finite() -> None:
    h = torch.zeros(1, 64, 8, dtype=torch.float16, requires_grad=True)
    x = h
    for channels, side in ((8, 8), (16, 4), (32, 2)):
        merging = TimmPatchMerging(channels).half()
        layer = InheritedMerging(merging.norm, merging.reduction, 'column row channel')
        trunk = torch.randn(1, side**2, channels, dtype=torch.float16)
        x = layer(x, trunk, (side, side))
    assert x.dtype == torch.float16
    (gradient,) = torch.autograd.grad(x, h, torch.full_like(x, 1024))
    assert gradient.isfinite().all() and gradient.any()


@pytest.mark.parametrize('shift', [0, 1e3])
@GRIDS
def test_deviations_are_those_of_merged_tokens(grid: tuple[int, int], shift: float) -> None:
    tokens = shift + torch.randn(2, grid[0] * grid[1], 6, dtype=torch.float64)
    merging = TimmPatchMerging(6)
    seen: list[Tensor] = []
    merging.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0].flatten(1, 2)))
    merging.float()(tokens.float().unflatten(1, grid))
    expected = (seen[0].double().var(-1, correction=0, keepdim=True) + 0.1).sqrt()
    torch.testing.assert_close(
        patch_std(tokens.float(), grid, 0.1), expected.float(), rtol=1e-3, atol=0
    )


@KINDS
def test_one_number_per_merged_token_is_saved_for_backward(kind: str) -> None:
    merging, h = stock(kind), torch.randn(2, 24, 6, requires_grad=True)
    with saved_for_backward(merging) as saved:
        inherited(merging)(h, torch.randn(2, 24, 6), (4, 6))
    assert saved.total == 4 * 2 * 6


def test_inherited_weights_stay_with_the_trunk() -> None:
    layer = inherited(stock('mm'))
    assert not list(layer.parameters()) and not layer.state_dict()


def test_without_a_norm_in_the_trunk() -> None:
    merging = MMPatchMerging(6, 12, norm_cfg=None)
    h = torch.randn(2, 12, 6)
    layer = InheritedMerging(None, merging.reduction, 'channel row column')
    torch.testing.assert_close(layer(h, torch.randn(2, 12, 6), (3, 4)), call(merging, h, (3, 4)))


def test_low_rank_counts_and_quantized_factors() -> None:
    merging = LowRankMerging(6, 12, rank=3)
    assert sum(p.numel() for p in merging.parameters()) == 3 * (4 * 6 + 12)
    merging.quantize(dict(type='GaussianQuantizer', bits=1))
    assert [name for name, _, _ in quantized_weights(merging)] == ['down', 'up']
    merging(torch.randn(2, 12, 6), torch.randn(2, 12, 6), (3, 4)).square().sum().backward()
    assert all(p.grad.any() for p in merging.parameters())
