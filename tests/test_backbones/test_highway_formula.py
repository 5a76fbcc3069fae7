"""A highway by hand: the published formula on every family of trunks, and its norms."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from highways import CONV, DUAL, own, trained, wrap
from nets import (
    BETWEEN,
    BRANCHES,
    ON_MAPS,
    SHORTCUTS,
    WHOLE,
    backward,
    bare,
    bottleneck_by_hand,
    end_of_block,
    equal,
    images,
    images_for,
    is_block,
    kind,
)
from tiny_backbones import TINY, tiny_config
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.backbones import HighwayBackbone
from mmqadapter.highway import JoinedCell, StandardizedCell

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
    blocks = [m for m in net.modules() if is_block(m)]
    staged = bool(wrapped.family.merging)
    highway = wrapped.adapters['highway']
    cells = iter([cell for stage in highway.stages for cell in stage])
    maps: list[Tensor] = []
    h: Any = 0
    outputs = (1, 3) if staged else net.out_indices  # two blocks a stage
    for number, block in enumerate(blocks[: max(outputs) + 1]):
        if staged and number == 2:
            size = plain[0].shape[2:]
            low_rank = wrapped.tuning_config['downsample'] == 'low-rank'
            merging = highway.mergings[0] if low_rank else None
            h = merging(h, h, size) if merging else merge_by_hand(net, seen, h, size)
        stream, *grid = seen[block]
        grid_map = plain[len(maps)].shape[2:]
        pair, after = taps_by_hand(block, taps, stream, grid, named[block], grid_map)
        height, width = grid_map
        for tap in pair:
            flat = tokens(block, tap, height * width)
            h = cell_by_hand(next(cells), h, flat, (height, width))
        if number in outputs:
            joined = tokens(block, after, height * width) + h
            maps.append(output_by_hand(net, highway, len(maps), joined, grid_map))
    return maps


def taps_by_hand(
    block: nn.Module, taps: str, stream: Tensor, grid: list, named: dict, size: Any
) -> tuple[list[Tensor], Tensor]:
    """The taps of a block, and the stream behind it."""
    if kind(block) in WHOLE:
        after = WHOLE[kind(block)](block, stream)
        return [after], after
    attn, mlp = BRANCHES[kind(block)]
    first_of, second_of = SHORTCUTS.get(kind(block), (lambda _, x: x, lambda _, x: x))
    if kind(block) == 'mscan.MSCABlock':
        stream, grid = stream.transpose(1, 2).unflatten(2, grid), []
    if attn is None:
        second = mlp(block, stream, size)
        return [second if taps == 'branch' else stream + second], stream + second
    first = attn(block, stream, *grid, **named)
    between = BETWEEN.get(kind(block), lambda block, x, *grid: x)
    middle = between(block, first_of(block, stream) + first, *grid)
    second = mlp(block, middle, size)
    after = end_of_block(block, second_of(block, middle) + second)
    choices = {'branch': [first, second], 'stream': [middle, after], 'block': [after]}
    return choices[taps], after


def output_by_hand(net: Any, highway: Any, number: int, joined: Tensor, size: Any) -> Tensor:
    """A map of the sum of stream and highway: normed, or behind the neck of SAM."""
    joined_map = joined.transpose(1, 2).unflatten(2, size)
    if hasattr(getattr(net, 'model', None), 'neck'):
        return net.model.neck(joined_map)
    if hasattr(net, 'channel_reduction'):
        return net.channel_reduction(joined_map)
    norm = highway.norms[number]
    if highway.norms_on_maps:
        return norm(joined_map)
    return norm(joined).transpose(1, 2).unflatten(2, size)


def cell_by_hand(cell: Any, h: Any, tap: Tensor, grid: tuple[int, int]) -> Tensor:
    """h + A(tap), h + A(LN(tap) + h), or the same with standardized channels."""
    if isinstance(cell, JoinedCell):
        var, mean = torch.var_mean(tap, -1, correction=0, keepdim=True)
        tap = (tap - mean) / (var + 1e-6).sqrt()
        if isinstance(cell, StandardizedCell):
            var, mean = torch.var_mean(tap, 1, correction=0, keepdim=True)
            tap = (tap - mean) / (var + 0.01).sqrt()
        tap = tap + h
    if cell.adapter.spatial:
        return h + bottleneck_by_hand(cell.adapter, tap, F.gelu, grid)
    return h + cell.adapter(tap)


def tokens(block: nn.Module, x: Tensor, count: int) -> Tensor:
    """Tokens of the grid, of (B, L, C), (B, H, W, C) or, in some nets, (B, C, H, W)."""
    if x.ndim == 4 and kind(block) in ON_MAPS:
        return x.flatten(2).transpose(1, 2)
    return (x.flatten(1, 2) if x.ndim == 4 else x)[:, -count:]


# What runs between the two stages of a net, in this order.
STEPS: dict[str, Callable[[Any], list[nn.Module]]] = {
    'ResNet': lambda net: list(net.layer2[0].downsample),
    'ConvNeXt': lambda net: list(net.model.stages[1].downsample),
    'MixVisionTransformer': lambda net: [
        net.layers[0][2], net.layers[1][0].projection, net.layers[1][0].norm,
    ],
    'PyramidVisionTransformer': lambda net: [
        net.layers[1][0].projection, net.layers[1][0].norm,
    ],
    'TimmPyramidVisionTransformerV2': lambda net: [
        net.model.stages[0].norm, net.model.stages[1].downsample.proj,
        net.model.stages[1].downsample.norm,
    ],
    'SwinTransformerV2': lambda net: [
        net.model.layers[1].downsample.reduction, net.model.layers[1].downsample.norm,
    ],
    'MetaFormer': lambda net: [
        net.model.stages[1].downsample.norm, net.model.stages[1].downsample.conv,
    ],
    'PCPVT': lambda net: [net.patch_embeds[1].projection, net.patch_embeds[1].norm],
    'Twins': lambda net: [net.model.patch_embeds[1].proj, net.model.patch_embeds[1].norm],
    'SVT': lambda net: [
        net.norm_list[0], net.patch_embeds[1].projection, net.patch_embeds[1].norm,
    ],
    'PoolFormer': lambda net: [net.network[1].proj],
    'MmpretrainConvNeXt': lambda net: list(net.downsample_layers[1]),
    'DaVit': lambda net: [
        net.model.stages[1].downsample.norm, net.model.stages[1].downsample.conv,
    ],
    'FocalNet': lambda net: [
        net.model.layers[1].downsample.proj, net.model.layers[1].downsample.norm,
    ],
    'MambaOut': lambda net: [
        net.model.stages[1].downsample.conv, net.model.stages[1].downsample.norm,
    ],
    'EdgeNeXt': lambda net: list(net.model.stages[1].downsample),
    'PoolingVisionTransformer': lambda net: [net.model.transformers[1].pool.conv],
    'MSCAN': lambda net: [net.norm1, net.patch_embed2.proj, net.patch_embed2.norm],
}  # fmt: skip
STEPS['PyramidVisionTransformerV2'] = STEPS['MixVisionTransformer']


def merge_by_hand(net: Any, seen: dict[nn.Module, tuple], h: Tensor, grid: Any) -> Tensor:
    """The stock steps between stages on the side stream, with the trunk's own deviations."""
    inner = type(getattr(net, 'model', net)).__name__
    name = f'Timm{inner}' if hasattr(net, 'model') and f'Timm{inner}' in STEPS else inner
    if f'Mmpretrain{inner}' in STEPS and not hasattr(net, 'model'):
        name = f'Mmpretrain{inner}'
    if name not in STEPS:
        merging = next((m for m in net.modules() if 'Merging' in kind(m)), None)
        assert merging is not None, f'add what runs between the stages of {name} to STEPS'
        return patches_by_hand(merging, seen, h)
    maps = h.transpose(1, 2).unflatten(2, grid)
    for step in STEPS[name](net):
        if name in ('PCPVT', 'SVT', 'DaVit') and isinstance(
            step, nn.Conv2d
        ):  # zeros fill up an odd grid
            maps = F.pad(maps, (0, maps.shape[3] % 2, 0, maps.shape[2] % 2))
        maps = step_by_hand(step, seen, maps)
    return maps.flatten(2).transpose(1, 2)


def step_by_hand(step: Any, seen: dict[nn.Module, tuple], maps: Tensor) -> Tensor:
    """A convolution, a projection of 2 x 2 tokens or a norm, without biases, on (B, C, H, W)."""
    if isinstance(step, nn.Conv2d):
        return F.conv2d(maps, step.weight, None, step.stride, step.padding, groups=step.groups)
    if isinstance(step, nn.BatchNorm2d):
        scale = step.weight / (step.running_var + step.eps).sqrt()
        return maps * scale[:, None, None]
    if isinstance(step, nn.Linear):
        padded = F.pad(maps, (0, maps.shape[3] % 2, 0, maps.shape[2] % 2))
        corners = [padded[:, :, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return torch.einsum('oc,bchw->bohw', step.weight, torch.cat(corners, 1))
    x = seen[step][0]
    if 'LayerNorm2d' in type(step).__name__:
        x = x.flatten(2).transpose(1, 2)
    x = x.flatten(1, -2)
    gain = step.weight / (x.var(-1, correction=0, keepdim=True) + step.eps).sqrt()
    return maps * gain.transpose(1, 2).unflatten(2, maps.shape[2:])


def patches_by_hand(merging: Any, seen: dict[nn.Module, tuple], h: Tensor) -> Tensor:
    """The stock merging, with the deviations that its norm had for the trunk."""
    args, (gathered,) = seen[merging], seen[merging.norm]
    std = (gathered.var(-1, correction=0, keepdim=True) + merging.norm.eps).sqrt()
    copy = deepcopy(merging)
    copy.norm = nn.Identity()
    copy.reduction.weight.mul_(merging.norm.weight)
    if len(args) > 1:
        return copy(h, args[1])[0] / std
    return (copy(h.unflatten(1, args[0].shape[1:3])) / std).flatten(1, 2)


@pytest.mark.parametrize(
    ('taps', 'cell', 'adapter'),
    [
        ('branch', 'ParallelCell', DUAL),
        ('stream', 'JoinedCell', CONV),
        ('block', 'JoinedCell', CONV),
        ('block', 'StandardizedCell', CONV),
    ],
)
@pytest.mark.parametrize('size', [(64, 64), (70, 93)])
@torch.no_grad()
def test_is_the_formula(
    row_backbone: Factory, taps: str, size: tuple[int, int], cell: str, adapter: dict
) -> None:
    wrapped = trained(row_backbone(), adapter, taps=taps, cell=cell)
    x = images_for(row_backbone(), *size)
    expected = by_hand(bare(row_backbone()), wrapped, taps, x)
    torch.testing.assert_close(list(wrapped(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('family', 'norms'),
    [
        ('mmdet_swin', [True, True]),
        ('mmseg_swin', [True, True]),
        ('mmseg_vit', [False, True]),
        ('timm_vit', [True, True]),
        ('dinov2', [True, True]),
        ('dinov3', [True, True]),
        ('timm_swin', [False, True]),
        ('timm_swin_v2', [False, True]),
        ('timm_beit', [False, False]),  # it averages first
        ('mmseg_beit', [False, True]),
        ('timm_sam', [False, False]),  # a frozen neck instead
        ('mmseg_mit', [False, True]),  # the next stage reads the first as well
        ('mmdet_pvt', [False, False]),
        ('mmdet_pvt_v2', [False, True]),
        ('timm_pvt_v2', [False, True]),
        ('timm_convnext', [False, False]),
        ('timm_swin_v2_cr', [False, False]),
        ('timm_metaformer', [False, False]),
        ('timm_relpos', [False, False]),
        ('timm_cait', [True, True]),
        ('timm_twins', [False, True]),
        ('mmseg_pcpvt', [False, False]),
        ('mmseg_svt', [False, True]),
        ('mmseg_mscan', [False, True]),
        ('mmpretrain_vit', [False, True]),
        ('mmpretrain_beit', [False, True]),
        ('mmpretrain_sam', [False, False]),
        ('mmpretrain_swin', [True, True]),
        ('mmpretrain_convnext', [True, True]),
        ('mmpretrain_poolformer', [True, True]),
        ('mmdet_resnet', [False, False]),
        ('timm_davit', [False, False]),
        ('timm_focalnet', [False, True]),
        ('timm_maxvit', [False, False]),  # its head has the norm
        ('timm_coatnet', [False, True]),
        ('timm_gcvit', [False, True]),
        ('timm_xcit', [True, True]),
    ],
)
def test_outputs_have_the_norms_that_the_trunk_has(family: str, norms: list[bool]) -> None:
    if family not in TINY:
        pytest.skip('mmpretrain is not installed')
    highway = wrap(tiny_config(family)).adapters['highway']
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
def test_stochastic_depth_of_the_trunk(row_backbone: Factory) -> None:
    cfg = row_backbone(drop_path_rate=0.9)
    expected = bare(cfg)(images())
    for drop in (False, True):
        wrapped = wrap(cfg, trunk_drop_path=drop).train()
        assert all(equal(wrapped(images()), expected) != drop for _ in range(2))
