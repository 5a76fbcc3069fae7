"""What a highway trains, and what it keeps for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from highways import DUAL, IN_PATH, TAPS, own, runs_behind, saved_bytes, trained, wrap
from nets import ONE_BIT, backward, bare, equal, images
from torch import Tensor, nn

from mmqadapter.backbones import AdaptedBackbone, HighwayBackbone

Factory = Callable[..., dict]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('width', 'heads', 'expected'),
    [(128, (4, 8, 16, 32), 1_195_008), (192, (6, 12, 24, 48), 1_792_512)],
    ids=['Swin-B', 'Swin-L'],
)
@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_published_counts(scope: str, width: int, heads: tuple[int, ...], expected: int) -> None:
    cfg = dict(
        type=f'{scope}.SwinTransformer',
        embed_dims=width,
        depths=(2, 2, 18, 2),
        num_heads=heads,
        init_cfg=None,
    )
    wrapped = HighwayBackbone(cfg, dict(type='DualLowRankAdapter'))
    assert sum(p.numel() for p in wrapped.parameters() if p.requires_grad) == expected


def test_bytes_for_backward_by_format(tiny_backbone: Factory) -> None:
    """A tap is 4, 2 or 1 bytes a value, and in int8 a float32 scale per token as well."""
    kept = [
        saved_bytes(wrap(tiny_backbone(), saved_taps=saved)) for saved in ('float', 'half', 'int8')
    ]
    assert kept[0] > kept[1] > kept[2]
    in_path = AdaptedBackbone(tiny_backbone(), DUAL)
    assert kept[0] < saved_bytes(in_path) / 4


@pytest.mark.parametrize(('saved', 'error'), [('half', 4e-3), ('int8', 2e-2)])
def test_gradient_error_by_format(rotating_backbone: Factory, saved: str, error: float) -> None:
    expected = own(backward(trained(rotating_backbone())))
    found = own(backward(trained(rotating_backbone(), saved_taps=saved)))
    exact, got = (
        torch.cat([gradients[name].flatten() for name in expected])
        for gradients in (expected, found)
    )
    assert 0 < (got - exact).norm() / exact.norm() < error


def test_maps_do_not_depend_on_what_is_kept(tiny_backbone: Factory) -> None:
    expected = trained(tiny_backbone())(images())
    for saved in ('half', 'int8'):
        assert equal(trained(tiny_backbone(), saved_taps=saved)(images()), expected)


@TAPS
@pytest.mark.parametrize('quantizer', [None, ONE_BIT], ids=['float', '1-bit'])
@pytest.mark.parametrize('downsample', ['inherited', 'low-rank'])
def test_only_the_highway_gets_gradients_and_all_of_it(
    rotating_backbone: Factory, taps: str, quantizer: dict | None, downsample: str
) -> None:
    wrapped = trained(rotating_backbone(), quantizer=quantizer, taps=taps, downsample=downsample)
    gradients = own(backward(wrapped.train()))
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


@TAPS
def test_no_graph_in_the_trunk(rotating_backbone: Factory, taps: str) -> None:
    wrapped, seen = trained(rotating_backbone(), taps=taps).train(), []

    def check(module: nn.Module, args: tuple, output: Any) -> None:
        tensors = [t for t in (*args, output) if isinstance(t, Tensor)]
        seen.extend(t.requires_grad or t.grad_fn is not None for t in tensors)
        seen.append(torch.is_grad_enabled())

    for module in set(wrapped.trunk.modules()) - runs_behind(wrapped):
        module.register_forward_hook(check)
    maps = wrapped(images())
    assert seen and not any(seen)
    assert leaves(maps) == {id(p) for p in wrapped.adapters.parameters()}


def leaves(maps: Any) -> set[int]:
    """Parameters at the ends of the graph."""
    nodes, found, visited = [m.grad_fn for m in maps], set(), set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in visited:
            visited.add(node)
            nodes += [following for following, _ in node.next_functions]
            if hasattr(node, 'variable'):
                found.add(id(node.variable))
    return found


@torch.no_grad()
def test_no_graph_where_none_is_wanted(tiny_backbone: Factory) -> None:
    wrapped = trained(tiny_backbone(), inpath_blocks=1).eval()
    assert not any(m.requires_grad for m in wrapped(images()))
    assert not torch.is_grad_enabled()
    with torch.enable_grad():
        assert all(m.requires_grad for m in wrapped(images()))


@pytest.mark.parametrize('inpath_blocks', [0, 1])
@pytest.mark.parametrize('out_indices', [(0,), (1,)])
def test_all_that_is_built_reaches_an_output(
    rotating_backbone: Factory, out_indices: tuple[int, ...], inpath_blocks: int
) -> None:
    """DDP stops where a parameter gets no gradient."""
    cfg = rotating_backbone(out_indices=out_indices)
    assert equal(wrap(cfg)(images()), bare(cfg)(images()))
    gradients = own(backward(trained(cfg, inpath_blocks=inpath_blocks)))
    assert all(gradient.any() for gradient in gradients.values())


def test_nothing_is_built_behind_the_last_output(tiny_backbone: Factory) -> None:
    counts = [
        sum(p.numel() for p in wrap(tiny_backbone(**changes)).adapters.parameters())
        for changes in ({}, dict(out_indices=(0,)))
    ]
    assert 0 < counts[1] < counts[0]


@IN_PATH
@TAPS
@pytest.mark.filterwarnings('ignore:.*use_reentrant', 'ignore:None of the inputs')
def test_checkpointing_gives_equal_gradients(
    rotating_backbone: Factory, inpath_blocks: int, taps: str
) -> None:
    plain, recomputed = (
        trained(rotating_backbone(with_cp=on), inpath_blocks=inpath_blocks, taps=taps).train()
        for on in (False, True)
    )
    assert equal(recomputed(images()), plain(images()))
    expected, found = own(backward(plain)), own(backward(recomputed))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('quantizer', [None, ONE_BIT], ids=['float', '1-bit'])
@pytest.mark.parametrize('saved', ['float', 'half', 'int8'])
def test_bfloat16_autocast(rotating_backbone: Factory, quantizer: dict | None, saved: str) -> None:
    wrapped = trained(rotating_backbone(), quantizer=quantizer, saved_taps=saved).train()
    with torch.autocast('cpu', torch.bfloat16):
        gradients = own(backward(wrapped))
        assert equal(wrap(rotating_backbone())(images()), bare(rotating_backbone())(images()))
    for name, parameter in wrapped.adapters.named_parameters():
        assert parameter.dtype == torch.float32
        assert gradients[f'adapters.{name}'].isfinite().all()


def test_gradients_accumulate(tiny_timm_swin: Factory) -> None:
    once, twice = (trained(tiny_timm_swin()) for _ in range(2))
    expected = own(backward(once))
    backward(twice)
    found = own(backward(twice))
    torch.testing.assert_close(found, {name: 2 * g for name, g in expected.items()})
