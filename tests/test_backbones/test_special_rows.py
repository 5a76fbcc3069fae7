"""What is special about nets of `SAME_LAYOUT` and of normed streams: outputs, caches, padding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import highways
import nets
import pytest
import timm
import torch
from mmengine.registry import MODELS
from nets import ADAPTERS, backward, bare, equal, images
from tiny_backbones import NO_CP, ROWS, SAME_LAYOUT, tiny_config
from torch import Tensor

from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone, HighwayBackbone
from mmqadapter.highway import EvenPadding

NORMED = ('mmseg_mit', 'mmdet_pvt_v2', 'timm_pvt_v2', 'mmseg_svt', 'mmseg_mscan', 'timm_gcvit')


def in_path(cfg: dict, **options: Any) -> AdaptedBackbone:
    return nets.trained(cfg, 'conv', **options).eval()


@pytest.mark.parametrize('trained', [in_path, highways.trained])
@pytest.mark.parametrize('name', SAME_LAYOUT)
def test_gradients_reach_every_adapter(name: str, trained: Callable) -> None:
    gradients = highways.own(backward(trained(tiny_config(name)).train()))
    assert all(g.isfinite().all() and g.any() for g in gradients.values())


@pytest.mark.parametrize('trained', [in_path, highways.trained])
@pytest.mark.parametrize('name', [name for name in SAME_LAYOUT if name not in NO_CP])
@pytest.mark.filterwarnings('ignore:.*use_reentrant', 'ignore:None of the inputs')
def test_recomputation_gives_equal_gradients(name: str, trained: Callable) -> None:
    plain, recomputed = (trained(tiny_config(name, with_cp=on)).train() for on in (False, True))
    expected, found = highways.own(backward(plain)), highways.own(backward(recomputed))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'before'), [('timm_tiny_vit', 1), ('timm_maxvit', 1), ('timm_coatnet', 3)]
)
def test_outputs_before_the_first_block_are_passed_on(name: str, before: int) -> None:
    cfg = tiny_config(name, out_indices=tuple(range(before + 2)))
    expected = bare(cfg)(images())
    assert equal(highways.wrap(cfg)(images()), expected)
    for wrapped in (highways.trained(cfg), in_path(cfg)):
        maps = wrapped(images())
        changed = [not torch.equal(a, b) for a, b in zip(maps, expected, strict=True)]
        assert changed == [False] * before + [True] * 2


@pytest.mark.parametrize('outputs', [(0,), (0, 1)])
def test_outputs_before_the_first_block_alone(outputs: tuple[int, ...]) -> None:
    match = f'out_indices up to {outputs[-1]} is invalid: no block of TimmBackbone that takes'
    with pytest.raises(ValueError, match=match):
        HighwayBackbone(tiny_config('timm_coatnet', out_indices=outputs), highways.DUAL)


def test_blocks_belong_to_the_outputs_that_the_net_says() -> None:
    cfg = tiny_config('timm_hieradet', stages=(1, 2, 2, 1), q_pool=3, window_spec=(4, 2, 2, 2))
    cfg.update(out_indices=(1, 2), global_att_blocks=())
    wrapped = highways.wrap(cfg)
    assert wrapped.block_names == tuple(f'model.blocks.{number}' for number in range(5))
    assert [len(cells) for cells in wrapped.highway.stages] == [2, 4, 4]
    assert len(wrapped.highway.mergings) == 2
    assert equal(wrapped(images()), bare(cfg)(images()))


def test_lora_in_blocks_that_keep_their_width() -> None:
    cfg, lora = tiny_config('timm_hieradet'), ADAPTERS['lora']
    with pytest.raises(ValueError, match=r'MultiScaleBlock.*leave it out with `blocks`'):
        AdaptedBackbone(cfg, lora)
    wrapped = AdaptedBackbone(cfg, lora, blocks=r'blocks\.[013]')
    nets.randomize(wrapped.adapters)
    assert all(g.any() for g in highways.own(backward(wrapped)).values())


@pytest.mark.parametrize('train', ['attention_biases', 'bitfit'])
def test_attention_biases_train_in_every_step(train: str) -> None:
    """timm caches them in eval mode, in which a trunk trains: with a graph, or without one."""
    net = FrozenBackbone(tiny_config('timm_tiny_vit'), train=train).train()
    nets.randomize(net)
    (name,) = (
        n for n in net.trainable_names if n.endswith('stages.2.blocks.1.attn.attention_biases')
    )
    biases = net.trunk.get_parameter(name)
    with torch.inference_mode():
        before = net(images())
    gradients: list[Tensor | None] = []
    for _ in range(2):
        net.zero_grad()
        gradients.append(backward(net)[f'trunk.{name}'])
    assert torch.equal(*gradients) and gradients[0].any()
    with torch.no_grad():
        biases.add_(torch.randn(biases.shape))
        assert not torch.equal(net(images())[-1], before[-1])


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize('name', SAME_LAYOUT)
@torch.no_grad()
def test_half_precision_is_near(name: str, dtype: str) -> None:
    tolerance = {'float16': 2e-3, 'bfloat16': 2e-2}[dtype]
    for trained in (in_path, highways.trained):
        cfg = tiny_config(name)
        maps = trained(cfg, trunk=dict(dtype=dtype))(images())
        for half, whole in zip(maps, trained(cfg)(images()), strict=True):
            assert half.isfinite().all()
            assert (half.float() - whole).norm() < tolerance * whole.norm()


def test_blocks_that_merge_have_no_highway() -> None:
    """The first block of a stage of these nets has the stride, not a module before it."""
    cfg = tiny_config('timm_edgenext', downsample_block=True)
    assert equal(nets.wrap(cfg)(images()), bare(cfg)(images()))
    for downsample in ('inherited', 'low-rank'):
        with pytest.raises(ValueError, match=r'a highway is invalid for this EdgeNeXt.*at 0 of 1'):
            HighwayBackbone(cfg, highways.DUAL, downsample=downsample)


@pytest.mark.parametrize('name', SAME_LAYOUT)
@torch.no_grad()
def test_the_last_map_alone(name: str) -> None:
    """Blocks of earlier stages have grids that no output has."""
    cfg = tiny_config(name)
    cfg['out_indices'] = cfg['out_indices'][-1:]
    for wrap in (highways.wrap, partial(nets.wrap, adapter='conv')):
        assert equal(wrap(cfg)(images()), bare(cfg)(images()))


@pytest.mark.parametrize('name', [name for name in ROWS if 'model_name' in ROWS[name]])
def test_weight_files_of_timm_load(name: str, tmp_path: Path) -> None:
    """They hold the head, and what timm removes together with it."""
    cfg = tiny_config(name)
    options = {k: v for k, v in cfg.items() if k not in ('type', 'model_name', 'out_indices')}
    torch.manual_seed(1)
    stock = timm.create_model(cfg['model_name'], **options).state_dict()
    torch.save(stock, tmp_path / 'stock.pth')
    net = MODELS.build(dict(cfg, checkpoint=str(tmp_path / 'stock.pth')))
    found = {key.removeprefix('model.'): value for key, value in net.state_dict().items()}
    assert found.keys() <= stock.keys()
    assert all(torch.equal(value, stock[key]) for key, value in found.items())


@pytest.mark.parametrize('name', NORMED)
def test_maps_that_no_head_reads_leave_nothing_without_a_gradient(name: str) -> None:
    """Where the next stage reads the norm of a map as well, the bare net trains that norm."""
    wrapped = highways.trained(tiny_config(name)).train()
    last = wrapped(images())[-1]
    (last * torch.linspace(0, 1, last.numel()).view_as(last)).sum().backward()
    assert [n for n, p in wrapped.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize('name', NORMED)
def test_frozen_norms_are_those_of_the_trunk(name: str) -> None:
    wrapped, cfg = highways.wrap(tiny_config(name)), tiny_config(name)
    assert not [key for key in wrapped.state_dict() if key.startswith('adapters.highway.norms.0.')]
    nets.randomize(wrapped.trunk)
    net = bare(cfg)
    net.load_state_dict(wrapped.trunk.state_dict())
    assert torch.equal(wrapped(images())[0], net(images())[0])


@pytest.mark.parametrize('size', [(76, 100), (64, 64), (70, 93)])
@torch.no_grad()
def test_mergings_that_pad_take_odd_grids(size: tuple[int, int]) -> None:
    """The trunk fills 19 x 25 tokens up with zeros."""
    wrapped = highways.trained(tiny_config('timm_davit'))
    low_rank = highways.trained(tiny_config('timm_davit'), downsample='low-rank')
    for highway in (wrapped, low_rank):
        maps = [m.shape for m in highway(images(*size))]
        assert maps == [m.shape for m in bare(tiny_config('timm_davit'))(images(*size))]
    padded = EvenPadding()(torch.ones(1, 1, 3, 5))
    assert padded.shape == (1, 1, 4, 6) and padded.sum() == 15


def test_every_net_is_in_the_table_once() -> None:
    families = [FrozenBackbone(tiny_config(name)).family.name for name in SAME_LAYOUT]
    assert len(set(families)) == len(families)
    assert set(SAME_LAYOUT) < set(ROWS)
