"""A row that does not describe its net is an error when the model is built, not a bad result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from highways import CONV, TAPS
from mmengine.model import BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from nets import ADAPTERS, ONE_BIT, has_site, require_site
from tiny_backbones import NO_CP, TINY
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.backbones import (
    AdaptedBackbone,
    BlockFamily,
    FrozenBackbone,
    HighwayBackbone,
    families,
)
from mmqadapter.backbones.build_check import check_build
from mmqadapter.backbones.dry_run import DryRun, without_hooks

Factory = Callable[..., dict]
C = 8
EVERY_ADAPTER = pytest.mark.parametrize('adapter', ADAPTERS)


class Embed(nn.Module):
    """Patches of 4 x 4 pixels: tokens (B, L, C) and their grid."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, C, 4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(x)
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


class Attention(nn.Module):
    """Attention of one head. ``bypass``: the weight of `qkv` is used, but `qkv` is not called."""

    def __init__(self, bypass: bool = False) -> None:
        super().__init__()
        self.qkv, self.out, self.bypass = nn.Linear(C, 3 * C), nn.Identity(), bypass

    def forward(self, x: Tensor) -> Tensor:
        qkv = F.linear(x, self.qkv.weight, self.qkv.bias) if self.bypass else self.qkv(x)
        q, k, v = qkv.chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v))


class WindowAttention(Attention):
    """Attention within windows of 8 x 8 tokens, into which the grid is padded, as in SAM."""

    grid = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        (batch, _, channels), (height, width) = x.shape, self.grid
        x = x.transpose(1, 2).unflatten(2, self.grid)
        x = F.pad(x, (0, -width % 8, 0, -height % 8)).unflatten(3, (-1, 8)).unflatten(2, (-1, 8))
        rows, columns = x.shape[2], x.shape[4]
        x = super().forward(x.permute(0, 2, 4, 3, 5, 1).reshape(-1, 64, channels))
        x = x.view(batch, rows, columns, 8, 8, channels).permute(0, 5, 1, 3, 2, 4)
        x = x.reshape(batch, channels, 8 * rows, 8 * columns)[:, :, :height, :width]
        return x.flatten(2).transpose(1, 2)


class FakeBlock(nn.Module):
    """Pre-norm block. ``function``: its MLP branch ends in a function instead of a module."""

    def __init__(self, attn: nn.Module, function: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2, self.attn = nn.LayerNorm(C), nn.LayerNorm(C), attn
        self.mlp, self.end, self.function = nn.Linear(C, C), nn.Identity(), function

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        branch = self.mlp(self.norm2(x))
        return x + (branch if self.function else self.end(branch))


class FakeNet(BaseModule):
    """Four blocks; each trap is an option."""

    def __init__(
        self,
        attention: type[Attention] = Attention,
        bypass: bool = False,
        function: bool = False,
        out_indices: tuple[int, ...] = (1, 3),
        stages: bool = False,
        neck: str = '',
        class_tokens: int = 0,
        img_size: int = 0,
        depth: int = 4,
    ) -> None:
        super().__init__()
        self.embed = Embed()
        blocks = (FakeBlock(attention(bypass), function) for _ in range(depth))
        self.blocks = nn.ModuleList(blocks)
        self.neck: Any = nn.Conv2d(C, 2 * C, 1) if neck == 'conv' else nn.Identity()
        self.scale = 2.0 if neck == 'scale' else 1.0
        self.out_indices, self.stages, self.img_size = out_indices, stages, img_size
        self.tokens = nn.Parameter(torch.zeros(1, class_tokens, C))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.img_size and x.shape[-1] != self.img_size:
            raise RuntimeError('another image size')
        x, grid = self.embed(x)
        x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1)
        maps = []
        for number, block in enumerate(self.blocks):
            block.attn.grid = grid
            x = block(x)
            # With stages, output 0 is behind block 1 and output 1 behind block 3.
            output = (number - 1) / 2 if self.stages else number
            if output in self.out_indices:
                tokens = x[:, self.tokens.shape[1] :]
                m = tokens.transpose(1, 2).unflatten(2, grid)
                maps.append(self.neck(m) * self.scale)
        return tuple(maps)


@pytest.fixture(autouse=True)
def fake_row(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    row = BlockFamily(
        name='Fake',
        classes=(f'{__name__}.FakeNet',),
        blocks=r'blocks\.(\d+)',
        block='FakeBlock',
        attn_branch='attn.out',
        mlp_in='norm2',
        mlp_branch='end',
        mlp_end='end',
        mlp='mlp',
        qkv='attn.qkv',
        grid='embed',
    )
    monkeypatch.setattr('mmqadapter.backbones.families.FAMILIES', (row,))
    monkeypatch.setitem(ROOT_MODELS._module_dict, 'FakeNet', FakeNet)
    yield


def fake(**options: Any) -> dict:
    return dict(type='FakeNet', **options)


@EVERY_ADAPTER
@pytest.mark.parametrize('options', [{}, dict(class_tokens=2), dict(img_size=32)], ids=str)
def test_a_right_row_builds(adapter: str, options: dict) -> None:
    wrapped = AdaptedBackbone(fake(**options), ADAPTERS[adapter], ONE_BIT)
    assert wrapped(torch.zeros(1, 3, 32, 32))[1].shape == (1, C, 8, 8)


@TAPS
@pytest.mark.parametrize('options', [{}, dict(class_tokens=2), dict(img_size=32)], ids=str)
def test_a_right_row_builds_a_highway(taps: str, options: dict) -> None:
    wrapped = HighwayBackbone(fake(**options), CONV, ONE_BIT, taps=taps, inpath_blocks=2)
    assert wrapped(torch.zeros(1, 3, 32, 32))[1].shape == (1, C, 8, 8)


@pytest.mark.parametrize('adapter', ['lora', 'lora-qkv'])
def test_lora_on_a_projection_that_is_not_called(adapter: str) -> None:
    text = r"'qkv' of blocks\.0 would never be called for '\w+': FakeNet bypasses .*'Fake'.*docs"
    with pytest.raises(ValueError, match=text):
        AdaptedBackbone(fake(bypass=True), ADAPTERS[adapter])
    AdaptedBackbone(fake(bypass=True), ADAPTERS['adaptformer'])  # needs no qkv


@pytest.mark.parametrize('adapter', ['sequential', 'conv'])
def test_branch_that_ends_in_a_function(adapter: str) -> None:
    with pytest.raises(ValueError, match=r"site 'mlp_branch' of blocks\.0 would never be called"):
        AdaptedBackbone(fake(function=True), ADAPTERS[adapter])


def test_tap_that_is_never_reached() -> None:
    with pytest.raises(ValueError, match=r'blocks\.0 reaches 1 of 2 taps: FakeNet bypasses'):
        HighwayBackbone(fake(function=True), CONV, taps='branch')
    HighwayBackbone(fake(function=True), CONV, taps='stream')


def test_windows_are_not_a_grid_with_class_tokens() -> None:
    net = fake(attention=WindowAttention)
    text = r'64 tokens of blocks\.0, of 24 in its stream, do not fit a grid of 4 x 6'
    with pytest.raises(ValueError, match=text):
        AdaptedBackbone(net, ADAPTERS['conv'])
    with pytest.raises(ValueError, match=text):
        HighwayBackbone(net, CONV, taps='branch')
    AdaptedBackbone(net, ADAPTERS['adaptformer'])  # sees no neighbors
    HighwayBackbone(net, CONV, taps='stream')


def test_windows_that_are_as_large_as_the_grid() -> None:
    """An image of four windows: these are a batch of four, not tokens of one image."""
    net = fake(attention=WindowAttention, img_size=64)
    with pytest.raises(ValueError, match=r'64 tokens of blocks\.0, of 256 in its stream'):
        AdaptedBackbone(net, ADAPTERS['conv'])


def with_row(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Change fields of the row."""
    row = replace(families.FAMILIES[0], **fields)
    monkeypatch.setattr('mmqadapter.backbones.families.FAMILIES', (row,))


def test_grid_of_another_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that runs behind the blocks."""
    with_row(monkeypatch, grid='neck')
    for build in (AdaptedBackbone, HighwayBackbone):
        with pytest.raises(ValueError, match=r'do not fit a grid of 0 x 0'):
            build(fake(), ADAPTERS['conv'])


@pytest.mark.parametrize('grid', ['embed.proj', 'embed.{}.pool|embed.proj'])
def test_grid_of_a_convolution(monkeypatch: pytest.MonkeyPatch, grid: str) -> None:
    """Its output is a map (B, C, H, W), whatever the stream of the blocks is."""
    with_row(monkeypatch, grid=grid)
    for build in (AdaptedBackbone, HighwayBackbone):
        maps = build(fake(class_tokens=2), ADAPTERS['conv'])(torch.zeros(1, 3, 32, 32))
        assert maps[1].shape == (1, C, 8, 8)


def test_blocks_that_outputs_do_not_count() -> None:
    """As in Hiera: outputs count stages of two blocks, and the row counts blocks."""
    net = fake(stages=True, out_indices=(0, 1))
    text = (
        r'blocks\.2 to blocks\.3 of FakeNet reach an output, but would get no adapters: '
        'out_indices does not count what group 1 of `blocks` counts'
    )
    with pytest.raises(ValueError, match=text):
        AdaptedBackbone(net, ADAPTERS['adaptformer'])
    with pytest.raises(ValueError, match=text):
        HighwayBackbone(net, CONV)
    with pytest.raises(ValueError, match=text):
        FrozenBackbone(net, train='bitfit')
    FrozenBackbone(net)  # trains nothing


def test_blocks_behind_the_last_output_may_be_left_out() -> None:
    assert len(AdaptedBackbone(fake(out_indices=(0, 1)), ADAPTERS['conv']).block_names) == 2


@pytest.mark.parametrize('neck', ['conv', 'scale'])
def test_maps_that_are_not_those_of_the_trunk(neck: str) -> None:
    """SAM has convolutions behind its blocks."""
    text = r'map 0 of a highway on FakeNet would not start as that of the trunk, .*blocks\.1'
    with pytest.raises(ValueError, match=text):
        HighwayBackbone(fake(neck=neck), CONV)
    AdaptedBackbone(fake(neck=neck), ADAPTERS['conv'])


def test_a_net_that_cannot_run_dry_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[str, dict]] = []
    log = 'mmqadapter.backbones.build_check.print_log'
    monkeypatch.setattr(log, lambda text, **kwargs: logged.append((text, kwargs)))

    class Picky(Attention):
        def forward(self, x: Tensor) -> Tensor:
            if not self.qkv(x).any():
                raise RuntimeError('values are needed')
            return super().forward(x)

    wrapped = AdaptedBackbone(fake(attention=Picky), ADAPTERS['conv'])
    ((text, kwargs),) = logged
    assert 'could not be checked (RuntimeError: values are needed)' in text
    assert kwargs['level'] == logging.WARNING
    assert wrapped(torch.ones(1, 3, 32, 32))[0].shape == (1, C, 8, 8)


def test_adapters_that_the_net_cannot_run_with(monkeypatch: pytest.MonkeyPatch) -> None:
    row = deepcopy(families.FAMILIES[0])
    object.__setattr__(row, 'mlp_end', 'norm1')
    monkeypatch.setattr('mmqadapter.backbones.families.FAMILIES', (row,))
    text = r"does not run with these adapters \(AssertionError: .*the row 'Fake' of the block table"
    with pytest.raises(ValueError, match=text):
        AdaptedBackbone(fake(), ADAPTERS['adaptformer'])


def test_every_family_passes_at_any_depth(tiny_backbone: Factory, monkeypatch: Any) -> None:
    """Of the real rows: with class tokens, windows, half precision and recomputation."""
    monkeypatch.undo()
    cfg = tiny_backbone()
    recomputed = cfg if cfg in [TINY.get(name) for name in NO_CP] else {**cfg, 'with_cp': True}
    for trunk in ({}, dict(attention='fused', mlp='auto', prepacked=True, dtype='bfloat16')):
        for name, adapter in ADAPTERS.items():
            if has_site(cfg, name):
                AdaptedBackbone(cfg, adapter, trunk=trunk)
        HighwayBackbone(recomputed, CONV, trunk=trunk, inpath_blocks=1)


@EVERY_ADAPTER
def test_nothing_changes(rotating_backbone: Factory, monkeypatch: Any, adapter: str) -> None:
    """Random states, buffers, module attributes and hooks are as before the dry run."""
    monkeypatch.undo()
    require_site(rotating_backbone(), adapter)
    wrapped = AdaptedBackbone(rotating_backbone(), ADAPTERS[adapter], trunk_drop_path=True)
    attributes = [dict(vars(m)) for m in wrapped.modules()]
    state, seed = deepcopy(wrapped.state_dict()), torch.get_rng_state()
    DryRun(wrapped.trunk, wrapped.family, wrapped.block_names)((1, 3, 64, 64))
    assert torch.equal(torch.get_rng_state(), seed)
    assert all(torch.equal(value, state[key]) for key, value in wrapped.state_dict().items())
    assert [dict(vars(m)) for m in wrapped.modules()] == attributes


def test_trunks_on_the_meta_device(tiny_backbone: Factory, monkeypatch: Any) -> None:
    """Shapes are checked where there are no values."""
    monkeypatch.undo()
    wrapped = AdaptedBackbone(tiny_backbone(), ADAPTERS['conv'])
    wrapped.trunk.to('meta')
    in_path = dict(zip(wrapped.block_names, wrapped.adapters.values(), strict=True))
    check_build(wrapped.trunk, wrapped.family, wrapped.block_names, in_path)
    dry = DryRun(wrapped.trunk, wrapped.family, wrapped.block_names)
    assert all(m.is_meta for m in dry((1, 3, 64, 64), without_hooks(wrapped.trunk)))
