"""Merging by the trunk's own steps: linear, zero at zero, and the trunk's response where it is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from timm.layers import LayerNorm2d, RmsNorm2d, StdConv2d
from torch import Tensor, nn

from mmqadapter.highway import (
    InheritedMerging,
    InheritedNeck,
    InheritedSteps,
    LowRankMerging,
    inherit_merging,
    merging_stride,
    rounds_down,
)
from mmqadapter.utils.accounting import saved_for_backward

C, OUT = 6, 8
ORDER = 'column row channel'


def convolution(kernel: int = 3, padding: int = 1) -> nn.Conv2d:
    return nn.Conv2d(C, OUT, kernel, 2, padding)


def trained(*steps: nn.Module) -> tuple[nn.Module, ...]:
    """Steps whose weights and statistics are not those of a new module; frozen, in eval mode."""
    for step in steps:
        for parameter in step.parameters():
            nn.init.normal_(parameter)
        if isinstance(step, nn.BatchNorm2d):
            step.running_mean.normal_()
            step.running_var.uniform_(0.5, 2)
        step.requires_grad_(False).eval()
    return steps


KINDS: dict[str, Sequence[nn.Module]] = {
    'convnext': trained(LayerNorm2d(C), convolution(2, 0)),
    'segformer': trained(nn.LayerNorm(C), convolution(), nn.LayerNorm(OUT)),
    'segnext': trained(nn.LayerNorm(C), convolution(), nn.BatchNorm2d(OUT)),
    'swin v2': trained(nn.Linear(4 * C, OUT, bias=False), nn.LayerNorm(OUT)),
    'twins': trained(nn.ZeroPad2d((0, 1, 0, 1)), convolution(2, 0), nn.LayerNorm(OUT)),
    'resnet': trained(convolution(1, 0), nn.BatchNorm2d(OUT)),
    'resnet-d': trained(
        nn.AvgPool2d(2, 2, ceil_mode=True), nn.Conv2d(C, OUT, 1), nn.BatchNorm2d(OUT)
    ),
    'dilated': trained(nn.Conv2d(C, OUT, 1), nn.BatchNorm2d(OUT)),
    'group norms': trained(nn.GroupNorm(2, C), convolution(1, 0), nn.GroupNorm(4, OUT)),
    'rms': trained(RmsNorm2d(C), convolution(3, 1)),
}
EVERY_KIND = pytest.mark.parametrize('kind', KINDS)


def stream(grid: tuple[int, int] = (5, 7)) -> Tensor:
    return torch.randn(2, grid[0] * grid[1], C)


@EVERY_KIND
def test_is_linear_and_zero_at_zero(kind: str) -> None:
    merging, trunk, (a, b) = InheritedSteps(KINDS[kind], ORDER), stream(), (stream(), stream())
    merged = [merging(h, trunk, (5, 7)) for h in (a, b, 2 * a - 3 * b, torch.zeros_like(a))]
    torch.testing.assert_close(merged[2], 2 * merged[0] - 3 * merged[1], rtol=1e-4, atol=1e-4)
    assert not merged[3].any()
    assert list(merging.state_dict()) == list(merging.parameters()) == []


@EVERY_KIND
def test_gradient_is_the_transpose_and_nothing_is_saved(kind: str) -> None:
    merging, trunk, h = InheritedSteps(KINDS[kind], ORDER), stream(), stream().requires_grad_()
    output = merging(h, trunk, (5, 7))
    direction = torch.randn_like(output)
    (output * direction).sum().backward()
    other = stream()
    expected = (merging(other, trunk, (5, 7)) * direction).sum()
    torch.testing.assert_close((h.grad * other).sum(), expected, rtol=1e-3, atol=1e-3)
    with saved_for_backward(merging) as counter:
        merging(stream().requires_grad_(), trunk, (5, 7))
    assert counter.total < 2 * h.numel() * 4  # deviations of tokens, weights of norms


@pytest.mark.parametrize('kind', ['segnext', 'convnext', 'resnet', 'resnet-d', 'dilated'])
def test_without_layer_norms_it_is_the_response_of_the_trunk(kind: str) -> None:
    """Batch norm and convolutions are affine: their response to h is exact."""
    steps, grid = [s for s in KINDS[kind] if not isinstance(s, nn.LayerNorm)], (5, 7)
    trunk, h = stream(), stream()

    def stock(x: Tensor) -> Tensor:
        x = x.transpose(1, 2).unflatten(2, grid)
        for step in steps:
            x = step(x)
        return x.flatten(2).transpose(1, 2)

    expected = stock(trunk + h) - stock(trunk)
    merged = InheritedSteps(steps, ORDER)(h, trunk, grid)
    torch.testing.assert_close(merged, expected, rtol=1e-4, atol=1e-4)


def test_deviations_are_those_of_the_trunk() -> None:
    """The norm behind a convolution sees what the trunk's own convolution makes, bias included."""
    first, conv, last = KINDS['segformer']
    trunk, h, grid = stream(), stream(), (5, 7)
    maps = first(trunk).transpose(1, 2).unflatten(2, grid)
    behind = conv(maps).flatten(2).transpose(1, 2)
    before = h * first.weight / (trunk.var(-1, correction=0, keepdim=True) + first.eps).sqrt()
    moved = nn.functional.conv2d(before.transpose(1, 2).unflatten(2, grid), conv.weight, None, 2, 1)
    std = (behind.var(-1, correction=0, keepdim=True) + last.eps).sqrt()
    expected = moved.flatten(2).transpose(1, 2) * last.weight / std
    merged = InheritedSteps(KINDS['segformer'], ORDER)(h, trunk, grid)
    torch.testing.assert_close(merged, expected, rtol=1e-4, atol=1e-4)


def test_deviations_of_groups_are_those_of_the_trunk() -> None:
    first, conv, last = KINDS['group norms']
    trunk, h, grid = stream(), stream(), (5, 7)
    maps = trunk.transpose(1, 2).unflatten(2, grid)
    before = maps_by_groups(first, maps, h.transpose(1, 2).unflatten(2, grid))
    moved = nn.functional.conv2d(before, conv.weight, None, 2)
    expected = maps_by_groups(last, conv(first(maps)), moved).flatten(2).transpose(1, 2)
    merged = InheritedSteps(KINDS['group norms'], ORDER)(h, trunk, grid)
    torch.testing.assert_close(merged, expected, rtol=1e-4, atol=1e-4)


def maps_by_groups(norm: nn.GroupNorm, trunk: Tensor, h: Tensor) -> Tensor:
    """Maps ``h`` times the weight of a norm, over the deviations of its groups in ``trunk``."""
    result = torch.empty_like(h)
    size = h.shape[1] // norm.num_groups
    for start in range(0, h.shape[1], size):
        part = slice(start, start + size)
        std = (trunk[:, part].var((1, 2, 3), correction=0) + norm.eps).sqrt()
        result[:, part] = h[:, part] * norm.weight[part, None, None] / std[:, None, None, None]
    return result


@pytest.mark.parametrize('kind', [StdConv2d, Conv2dAdaptivePadding])
def test_a_convolution_with_a_forward_of_its_own_is_refused(kind: type[nn.Conv2d]) -> None:
    """Its weight is not what it computes with, or it pads."""
    with pytest.raises(ValueError, match=f"'inherited' is invalid for a step {kind.__name__}"):
        InheritedSteps([kind(C, OUT, 1)], ORDER)


@pytest.mark.parametrize(
    ('kind', 'rounds'),
    [
        ('convnext', True),
        ('segformer', False),
        ('twins', False),
        ('resnet', False),
        ('resnet-d', False),
    ],
)
@pytest.mark.parametrize('grid', [(4, 6), (5, 7)])
def test_low_rank_has_the_grid_of_the_trunk(kind: str, rounds: bool, grid: tuple[int, int]) -> None:
    assert rounds_down(KINDS[kind]) == rounds
    low_rank, h = LowRankMerging(C, OUT, crops=rounds), stream(grid)
    up = 0 if rounds else 1
    count = ((grid[0] + up) // 2) * ((grid[1] + up) // 2)
    assert low_rank(h, h, grid).shape == (2, count, OUT)
    if kind != 'twins':
        assert InheritedSteps(KINDS[kind], ORDER)(h, h, grid).shape == (2, count, OUT)


@pytest.mark.parametrize(
    ('kind', 'stride'),
    [('convnext', 2), ('swin v2', 2), ('resnet', 2), ('resnet-d', 2), ('dilated', 1)],
)
def test_stride(kind: str, stride: int) -> None:
    assert merging_stride(KINDS[kind]) == InheritedSteps(KINDS[kind], ORDER).stride == stride
    low_rank, h, grid = LowRankMerging(C, OUT, stride=stride), stream(), (5, 7)
    expected = InheritedSteps(KINDS[kind], ORDER)(h, h, grid).shape
    if kind != 'convnext':  # which leaves out the end of an odd grid
        assert low_rank(h, h, grid).shape == expected


def test_patch_mergings_stay_what_they_were() -> None:
    norm, reduction = nn.LayerNorm(4 * C), nn.Linear(4 * C, OUT)
    assert isinstance(inherit_merging([norm, reduction], ORDER), InheritedMerging)
    assert isinstance(inherit_merging([reduction], ORDER), InheritedMerging)
    assert isinstance(inherit_merging([reduction, nn.LayerNorm(OUT)], ORDER), InheritedSteps)


def test_what_is_not_linear_is_refused() -> None:
    block = nn.Sequential(convolution(), nn.GELU())
    with pytest.raises(ValueError, match="step Sequential between stages.*downsample='low-rank'"):
        InheritedSteps([block], ORDER)


def test_a_neck_is_not_saved_and_lets_gradients_pass() -> None:
    neck = nn.Conv2d(C, OUT, 1).requires_grad_(False)
    inherited, x = InheritedNeck(neck), torch.randn(1, C, 3, 4, requires_grad=True)
    assert torch.equal(inherited(x), neck(x))
    assert not inherited.state_dict() and not list(inherited.parameters())
    inherited(x).sum().backward()
    assert x.grad.any() and neck.weight.grad is None
