"""The joined cell with convolutional adapters on every family of trunks."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from highways import CONV, DUAL, own, runs_behind, saved_bytes, trained, wrap
from nets import ONE_BIT, backward, bare, equal, images, images_for, randomize
from torch import nn

from mmqadapter import load_task, save_task
from mmqadapter.backbones import AdaptedBackbone, HighwayBackbone

Factory = Callable[..., dict]
JOINED: dict[str, Any] = dict(cell='JoinedCell', taps='stream')
LEARNED = dict(CONV, scale='learned')


@pytest.mark.parametrize('inpath_blocks', [0, 2])
@pytest.mark.parametrize('quantizer', [None, ONE_BIT], ids=['float', '1-bit'])
def test_starts_as_the_bare_net_bit_for_bit(
    row_backbone: Factory, quantizer: dict | None, inpath_blocks: int
) -> None:
    cfg = row_backbone()
    wrapped = wrap(cfg, LEARNED, quantizer=quantizer, inpath_blocks=inpath_blocks, **JOINED)
    for size in [(64, 64), (70, 93)]:
        x = images_for(cfg, *size)
        assert equal(wrapped.train()(x), bare(cfg)(x))
    randomize(wrapped.adapters)
    assert not equal(wrapped(images()), bare(cfg)(images()))


@pytest.mark.parametrize('taps', ['branch', 'stream', 'block'])
@pytest.mark.parametrize('quantizer', [None, ONE_BIT], ids=['float', '1-bit'])
def test_only_the_highway_gets_gradients_and_all_of_it(
    rotating_backbone: Factory, taps: str, quantizer: dict | None
) -> None:
    wrapped = trained(
        rotating_backbone(), LEARNED, quantizer=quantizer, taps=taps, cell='JoinedCell'
    ).train()
    seen = []

    def check(module: nn.Module, args: tuple, output: Any) -> None:
        seen.append(torch.is_grad_enabled())

    for module in set(wrapped.trunk.modules()) - runs_behind(wrapped):
        module.register_forward_hook(check)
    gradients = own(backward(wrapped))
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())
    assert seen and not any(seen)


def test_bytes_for_backward_by_format(layout_backbone: Factory) -> None:
    kept = {
        saved: saved_bytes(wrap(layout_backbone(), CONV, saved_taps=saved, **JOINED))
        for saved in ('float', 'half', 'int8')
    }
    assert kept['float'] > kept['half'] > kept['int8']
    assert kept['float'] < saved_bytes(AdaptedBackbone(layout_backbone(), CONV)) / 3
    # An input of its own for each cell: no more than the taps of the published cell.
    published = saved_bytes(wrap(layout_backbone(), DUAL, taps='stream'))
    assert kept['float'] <= published


@pytest.mark.parametrize(('saved', 'error'), [('half', 1e-2), ('int8', 5e-2)])
def test_gradient_error_by_format(rotating_backbone: Factory, saved: str, error: float) -> None:
    expected = own(backward(trained(rotating_backbone(), CONV, **JOINED)))
    found = own(backward(trained(rotating_backbone(), CONV, saved_taps=saved, **JOINED)))
    exact, got = (
        torch.cat([gradients[name].flatten() for name in expected])
        for gradients in (expected, found)
    )
    assert 0 < (got - exact).norm() / exact.norm() < error


@pytest.mark.parametrize('inpath_blocks', [1, 2])
@pytest.mark.filterwarnings('ignore:.*use_reentrant', 'ignore:None of the inputs')
def test_checkpointing_gives_equal_gradients(
    rotating_backbone: Factory, inpath_blocks: int
) -> None:
    plain, recomputed = (
        trained(rotating_backbone(with_cp=on), CONV, inpath_blocks=inpath_blocks, **JOINED).train()
        for on in (False, True)
    )
    expected, found = own(backward(plain)), own(backward(recomputed))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_copy_is_independent_and_takes_any_size(layout_backbone: Factory) -> None:
    wrapped = trained(layout_backbone(), CONV, inpath_blocks=1, **JOINED).eval()
    copy = deepcopy(wrapped)
    for size in [(64, 64), (48, 80), (70, 93)]:
        x = images_for(layout_backbone(), *size)
        assert equal(copy(x), wrapped(x))
    before = copy(images())
    wrapped(images_for(layout_backbone(), 48, 80))  # of another grid
    randomize(wrapped.adapters)
    assert equal(copy(images()), before)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast_gradients_are_finite_at_the_start(
    tiny_mmdet_swin: Factory, dtype: torch.dtype
) -> None:
    stages = dict(depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 2), strides=(4, 2, 2, 2))
    cfg = tiny_mmdet_swin(**stages, out_indices=(0, 1, 2, 3))
    wrapped = wrap(cfg, CONV, saved_taps='half', **JOINED)
    with torch.autocast('cpu', dtype):
        maps = wrapped(images())
        loss = 2.0**16 * sum((m.float() - 1).square().mean() for m in maps)
    loss.backward()
    gradients = own({name: p.grad for name, p in wrapped.named_parameters()})
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients['adapters.highway.stages.0.0.adapter.up.weight'].any()


@pytest.mark.parametrize('bits', [1, 32])
@torch.no_grad()
def test_task_file_there_and_back(rotating_backbone: Factory, tmp_path: Path, bits: int) -> None:
    settings = dict(quantizer=dict(type='GaussianQuantizer', bits=bits), inpath_blocks=1, **JOINED)
    first = trained(rotating_backbone(), LEARNED, **settings).eval()
    save_task(first, path := tmp_path / 'a.task.safetensors')
    second = wrap(
        rotating_backbone(), LEARNED, **{**settings, 'cell': dict(type='JoinedCell')}
    ).eval()
    load_task(second, path)
    assert equal(second(images()), first(images()))
    other = wrap(rotating_backbone(), LEARNED, **{**settings, 'cell': 'ParallelCell'})
    with pytest.raises(ValueError, match="'cell': {'type': 'JoinedCell'}"):
        load_task(other, path)


def test_the_published_cell_is_what_no_cell_means(tiny_timm_vit: Factory) -> None:
    assert (
        wrap(tiny_timm_vit()).tuning_config
        == wrap(tiny_timm_vit(), cell='ParallelCell').tuning_config
    )
    assert wrap(tiny_timm_vit()).tuning_config['cell'] == {'type': 'ParallelCell'}


def test_an_unknown_cell_is_refused(tiny_timm_vit: Factory) -> None:
    with pytest.raises(ValueError, match=r"cell='both' is unknown; use one of \['JoinedCell',"):
        HighwayBackbone(tiny_timm_vit(), DUAL, cell='both')
