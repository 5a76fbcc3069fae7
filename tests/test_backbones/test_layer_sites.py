"""Adapters on layers of a block are changes of weights and biases, in every net that calls them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from nets import ONE_BIT, backward, bare, equal, images, randomize
from tiny_backbones import tiny_config
from torch import nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.backbones import AdaptedBackbone, HighwayBackbone

Factory = Callable[..., dict]
KINDS = pytest.mark.parametrize('kind', ['SSF', 'BitFit', 'NormTuning'])


def wrap(cfg: dict, kind: str, quantizer: dict | None = None, **kwargs: Any) -> AdaptedBackbone:
    """``bare(cfg)`` with adapters as they start."""
    torch.manual_seed(0)
    wrapped = AdaptedBackbone(cfg, dict(type=kind), quantizer, **kwargs)
    wrapped.load_state_dict(bare(cfg).state_dict(), strict=False)
    return wrapped


def moved(cfg: dict, kind: str, **kwargs: Any) -> AdaptedBackbone:
    """The same with adapters that have moved."""
    wrapped = wrap(cfg, kind, **kwargs)
    randomize(wrapped.adapters, 0.1)
    return wrapped


@torch.no_grad()
def merge(wrapped: AdaptedBackbone, net: nn.Module) -> None:
    """Put gains and shifts into weights and biases of a plain net."""
    for name in wrapped.blocks:
        adapter: Any = wrapped.adapters[name.replace('.', '_')]['layers']
        block = net.get_submodule(name)
        for layer in adapter.layers_of(wrapped.trunk.get_submodule(name)):
            target, key = block.get_submodule(layer), layer.replace('.', '_')
            if key in adapter.gains:
                factor = 1 + adapter.scale(adapter.gains[key].weight)
                target.weight.mul_(factor[:, None] if target.weight.ndim == 2 else factor)
                target.bias.mul_(factor)
            target.bias.add_(adapter.scale(adapter.shifts[key].weight))


@KINDS
@pytest.mark.parametrize('net', ['timm_vit', 'mmdet_swin', 'mmpretrain_vit'])
@torch.no_grad()
def test_it_is_a_change_of_weights_and_biases(kind: str, net: str) -> None:
    cfg = tiny_config(net)
    start, wrapped, merged = wrap(cfg, kind), moved(cfg, kind), bare(cfg)
    assert equal(start(images()), merged(images()))
    merge(wrapped, merged)
    maps = wrapped(images())
    torch.testing.assert_close(tuple(maps), tuple(merged(images())), rtol=1e-3, atol=1e-4)
    assert not equal(maps, start(images()))


@KINDS
def test_only_vectors_get_gradients(tiny_timm_vit: Factory, kind: str) -> None:
    wrapped = moved(tiny_timm_vit(), kind, quantizer=ONE_BIT).train()
    gradients = {name: g for name, g in backward(wrapped).items() if g is not None}
    assert set(gradients) == {f'adapters.{name}' for name, _ in wrapped.adapters.named_parameters()}
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


@pytest.mark.parametrize('net', ['timm_vit', 'mmdet_swin'])
@pytest.mark.filterwarnings('ignore:.*use_reentrant', 'ignore:None of the inputs')
def test_recomputed_blocks_give_equal_gradients(net: str) -> None:
    plain, again = (backward(moved(tiny_config(net, with_cp=on), 'SSF')) for on in (False, True))
    for name in plain:
        torch.testing.assert_close(again[name], plain[name], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_copy_is_independent(tiny_timm_vit: Factory) -> None:
    wrapped = moved(tiny_timm_vit(), 'SSF')
    copy, before = deepcopy(wrapped), wrapped(images())
    randomize(wrapped.adapters, 0.5)
    assert equal(copy(images()), before)
    assert not equal(wrapped(images()), before)


@pytest.mark.parametrize('option', ['attention', 'mlp', 'prepacked'])
@torch.no_grad()
def test_a_faster_trunk_computes_the_same(tiny_mmdet_swin: Factory, option: str) -> None:
    value = {'attention': 'fused', 'mlp': 'chunked', 'prepacked': True}[option]
    stock, fast = (moved(tiny_mmdet_swin(), 'SSF', trunk=t) for t in (None, {option: value}))
    maps = tuple(stock(images())), tuple(fast(images()))
    torch.testing.assert_close(*maps, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
@torch.no_grad()
def test_a_task_file_has_codes_two_numbers_for_each_vector_and_a_scale(
    tiny_timm_vit: Factory, bits: int, tmp_path: Any
) -> None:
    wrapped = moved(tiny_timm_vit(), 'SSF', quantizer=dict(type='GaussianQuantizer', bits=bits))
    path, before = tmp_path / 'a.task.safetensors', wrapped.eval()(images())
    save_task(wrapped, path)
    # Of 16 channels: norms 16 each, q, k and v 48, projection 16, MLP 64 and 16; gain and shift.
    codes, vectors = 2 * (16 + 48 + 16 + 16 + 64 + 16), 2 * 6
    expected = 3 * (codes * bits // 8 + vectors * 8 + 4)
    assert inspect_task(path)['bytes']['adapters'] == expected
    other = wrap(tiny_timm_vit(), 'SSF', dict(type='GaussianQuantizer', bits=bits)).eval()
    load_task(other, path)
    assert equal(other(images()), before)


@pytest.mark.parametrize(
    ('net', 'kind', 'text'),
    [
        ('mmseg_vit', 'SSF', r"of layers\.0 would never be called for 'attn\.attn\.out_proj': Vis"),
        ('dinov3', 'SSF', r"for 'attn\.qkv': Eva reads the weights .*; use NormTuning"),
        ('mmdet_resnet', 'SSF', "'SSF' is invalid for BasicBlock of .* has no layer of its kind"),
        ('mmpretrain_convnext', 'NormTuning', 'has no layer of its kind .*: use ConvAdapter'),
    ],
)
def test_blocks_without_such_layers(net: str, kind: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        AdaptedBackbone(tiny_config(net), dict(type=kind))


@pytest.mark.parametrize('adapter', [dict(type='SSF'), dict(type='Prompts', count=2)], ids=str)
def test_a_highway_does_not_take_them(tiny_timm_vit: Factory, adapter: dict) -> None:
    with pytest.raises(ValueError, match=f'{adapter["type"]!r} is invalid on a highway'):
        HighwayBackbone(tiny_timm_vit(), adapter)
