"""A highway by hand: the published formula on every family of trunks, and its norms."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from highways import CONV, DUAL, TAPS, own, trained, wrap
from nets import BRANCHES, backward, bare, bottleneck_by_hand, equal, images
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.backbones import HighwayBackbone
from mmqadapter.highway import JoinedCell

Factory = Callable[..., dict]


def by_hand(net: nn.Module, wrapped: HighwayBackbone, taps: str, x: Tensor) -> list[Tensor]:
    """Maps of a bare net with the highway of ``wrapped``, by the formulas of its cells."""
    seen: dict[nn.Module, tuple] = {}
    named: dict[nn.Module, dict] = {}

    def remember(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        seen[module], named[module] = args, kwargs

    for module in net.modules():
        module.register_forward_hook(remember, with_kwargs=True)
    plain = net(x)
    blocks = [m for m in net.modules() if type(m).__name__ in BRANCHES]
    merges = [m for m in net.modules() if type(m).__name__ == 'PatchMerging']
    highway = wrapped.adapters['highway']
    cells = iter([cell for stage in highway.stages for cell in stage])
    maps: list[Tensor] = []
    h: Any = 0
    outputs = net.out_indices if len(merges) == 0 else (1, 3)  # two blocks a stage
    for number, block in enumerate(blocks):
        if merges and number == 2:
            h = merge_by_hand(merges[0], seen, h)
        stream, *grid = seen[block]
        attn, mlp = BRANCHES[type(block).__name__]
        first = attn(block, stream, *grid, **named[block])
        middle = stream + first
        second = mlp(block, middle)
        pair = (first, second) if taps == 'branch' else (middle, middle + second)
        height, width = plain[len(maps)].shape[2:]
        for tap in pair:
            h = cell_by_hand(next(cells), h, tokens(tap, height * width), (height, width))
        if number in outputs:
            joined = tokens(middle + second, height * width) + h
            normed = highway.norms[len(maps)](joined)
            maps.append(normed.transpose(1, 2).unflatten(2, (height, width)))
    return maps


def cell_by_hand(cell: Any, h: Any, tap: Tensor, grid: tuple[int, int]) -> Tensor:
    """h + A(tap), or h + A(LN(tap) + h)."""
    if isinstance(cell, JoinedCell):
        var, mean = torch.var_mean(tap, -1, correction=0, keepdim=True)
        tap = (tap - mean) / (var + 1e-6).sqrt() + h
    if cell.adapter.spatial:
        return h + bottleneck_by_hand(cell.adapter, tap, F.gelu, grid)
    return h + cell.adapter(tap)


def tokens(x: Tensor, count: int) -> Tensor:
    return (x.flatten(1, 2) if x.ndim == 4 else x)[:, -count:]


def merge_by_hand(merging: Any, seen: dict[nn.Module, tuple], h: Tensor) -> Tensor:
    """The stock merging, with the deviations that its norm had for the trunk."""
    args, (gathered,) = seen[merging], seen[merging.norm]
    std = (gathered.var(-1, correction=0, keepdim=True) + merging.norm.eps).sqrt()
    copy = deepcopy(merging)
    copy.norm = nn.Identity()
    copy.reduction.weight.mul_(merging.norm.weight)
    if len(args) > 1:
        return copy(h, args[1])[0] / std
    return (copy(h.unflatten(1, args[0].shape[1:3])) / std).flatten(1, 2)


@TAPS
@pytest.mark.parametrize(
    ('cell', 'adapter'), [('ParallelCell', DUAL), ('JoinedCell', CONV)], ids=['published', 'joined']
)
@pytest.mark.parametrize('size', [(64, 64), (70, 93)])
@torch.no_grad()
def test_is_the_formula(
    tiny_backbone: Factory, taps: str, size: tuple[int, int], cell: str, adapter: dict
) -> None:
    wrapped = trained(tiny_backbone(), adapter, taps=taps, cell=cell)
    expected = by_hand(bare(tiny_backbone()), wrapped, taps, images(*size))
    torch.testing.assert_close(list(wrapped(images(*size))), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('family', 'norms'),
    [
        ('mmdet_swin', [True, True]),
        ('mmseg_swin', [True, True]),
        ('mmseg_vit', [False, True]),
        ('timm_vit', [True, True]),
        ('dinov2', [True, True]),
        ('timm_swin', [False, True]),
        ('dinov3', [True, True]),
    ],
)
def test_outputs_have_the_norms_that_the_trunk_has(
    family: str, norms: list[bool], request: pytest.FixtureRequest
) -> None:
    highway = wrap(request.getfixturevalue(f'tiny_{family}')()).adapters['highway']
    assert [bool(list(norm.parameters())) for norm in highway.norms] == norms
    assert all(p.requires_grad for p in highway.norms.parameters())


def test_a_vit_without_a_final_norm_has_none(tiny_mmseg_vit: Factory) -> None:
    for changes in (dict(final_norm=False), dict(out_indices=(0, 1))):
        cfg = tiny_mmseg_vit(**changes)
        wrapped = wrap(cfg)
        assert not list(wrapped.adapters['highway'].norms.parameters())
        assert equal(wrapped(images()), bare(cfg)(images()))


@pytest.mark.parametrize('changes', [dict(with_cls_token=False), dict(pre_norm=True)])
def test_other_vits_start_as_the_bare_net(tiny_mmseg_vit: Factory, changes: dict) -> None:
    cfg = tiny_mmseg_vit(**changes)
    assert equal(wrap(cfg)(images()), bare(cfg)(images()))


def test_swin_without_norms_in_its_mergings(tiny_mmseg_swin: Factory) -> None:
    cfg = tiny_mmseg_swin(patch_norm=False)
    assert equal(wrap(cfg)(images()), bare(cfg)(images()))
    own(backward(trained(cfg)))


@torch.no_grad()
def test_stochastic_depth_of_the_trunk(tiny_backbone: Factory) -> None:
    cfg = tiny_backbone(drop_path_rate=0.9)
    expected = bare(cfg)(images())
    for drop in (False, True):
        wrapped = wrap(cfg, trunk_drop_path=drop).train()
        assert all(equal(wrapped(images()), expected) != drop for _ in range(2))
