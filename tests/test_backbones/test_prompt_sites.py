"""Prompts in plain ViTs: blocks read them and outputs have none."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from nets import ONE_BIT, backward, bare, equal, images
from tiny_backbones import tiny_config
from torch import Tensor, nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.backbones import AdaptedBackbone

Factory = Callable[..., dict]
NETS = pytest.mark.parametrize('net', ['timm_vit', 'dinov2', 'mmseg_vit', 'mmpretrain_vit'])
KINDS = pytest.mark.parametrize('kind', ['Prompts', 'ShallowPrompts'])


def prompted(cfg: dict, kind: str, quantizer: dict | None = None, **kw: Any) -> AdaptedBackbone:
    """``bare(cfg)`` with prompts of a spread that matters."""
    torch.manual_seed(0)
    wrapped = AdaptedBackbone(cfg, dict(type=kind, count=3), quantizer, **kw)
    wrapped.load_state_dict(bare(cfg).state_dict(), strict=False)
    for parameter in wrapped.adapters.parameters():
        parameter.data.normal_(generator=torch.Generator().manual_seed(3))
    return wrapped


def traced(wrapped: AdaptedBackbone, x: Tensor) -> list[tuple[nn.Module, Tensor, Tensor]]:
    """Each block in execution order, with the tokens before and behind it, without prompts."""
    trace: list[tuple[nn.Module, Tensor, Tensor]] = []

    def before(block: nn.Module, args: tuple) -> None:
        trace.append((block, args[0], args[0]))

    def behind(block: nn.Module, args: tuple, output: Tensor) -> None:
        trace[-1] = (block, trace[-1][1], output)

    for block in wrapped.blocks.values():
        block.register_forward_pre_hook(before, prepend=True)
        block.register_forward_hook(behind)
    wrapped(x)
    return trace


@NETS
@KINDS
@torch.no_grad()
def test_blocks_read_prompts_that_no_output_has(net: str, kind: str) -> None:
    """By hand: the bare block on prompts and tokens, of which the tokens go on."""
    wrapped, plain = prompted(tiny_config(net), kind), bare(tiny_config(net))
    weights = [module['prompts'].tokens.weight for module in wrapped.adapters.children()]
    trace = traced(wrapped, images())
    assert len(weights) == (1 if kind == 'ShallowPrompts' else len(trace))
    prompts = weights[0].expand(2, -1, -1)
    for number, (block, tokens, output) in enumerate(trace):
        name = wrapped.block_names[number]
        assert block is wrapped.trunk.get_submodule(name)
        if kind == 'Prompts':
            prompts = weights[number].expand(2, -1, -1)
        expected = plain.get_submodule(name)(torch.cat([prompts, tokens], 1))
        torch.testing.assert_close(output, expected[:, 3:], rtol=1e-4, atol=1e-4)
        prompts = expected[:, :3]
    shapes = [tuple(output.shape) for output in plain(images())]
    assert [tuple(output.shape) for output in wrapped(images())] == shapes
    assert not equal(wrapped(images()), plain(images()))


@KINDS
def test_only_prompts_get_gradients(tiny_timm_vit: Factory, kind: str) -> None:
    wrapped = prompted(tiny_timm_vit(), kind, ONE_BIT).train()
    gradients = {name: g for name, g in backward(wrapped).items() if g is not None}
    assert set(gradients) == {f'adapters.{name}' for name, _ in wrapped.adapters.named_parameters()}
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


@KINDS
@torch.no_grad()
def test_a_copy_is_independent(tiny_timm_vit: Factory, kind: str) -> None:
    wrapped = prompted(tiny_timm_vit(), kind)
    copy, before = deepcopy(wrapped), wrapped(images())
    for parameter in wrapped.adapters.parameters():
        parameter.add_(1)
    assert equal(copy(images()), before)
    assert not equal(wrapped(images()), before)


@pytest.mark.parametrize('net', ['timm_vit', 'mmseg_vit'])
@pytest.mark.filterwarnings('ignore:.*use_reentrant', 'ignore:None of the inputs')
def test_recomputed_blocks_give_equal_gradients(net: str) -> None:
    runs = (backward(prompted(tiny_config(net, with_cp=on), 'Prompts')) for on in (False, True))
    plain, again = runs
    for name in plain:
        torch.testing.assert_close(again[name], plain[name], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_images_of_several_sizes(tiny_timm_vit: Factory) -> None:
    for size in [(64, 64), (48, 80), (64, 64)]:
        wrapped = prompted(tiny_timm_vit(), 'ShallowPrompts')
        assert equal(wrapped(images(*size)), deepcopy(wrapped)(images(*size)))


@KINDS
@pytest.mark.parametrize('bits', [1, 8])
@torch.no_grad()
def test_task_file(tiny_timm_vit: Factory, kind: str, bits: int, tmp_path: Any) -> None:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    wrapped, path = prompted(tiny_timm_vit(), kind, quantizer), tmp_path / 'a.task.safetensors'
    before = wrapped.eval()(images())
    save_task(wrapped, path)
    blocks = 1 if kind == 'ShallowPrompts' else 3
    assert inspect_task(path)['bytes']['adapters'] == blocks * (3 * 16 * bits // 8 + 8)
    other = AdaptedBackbone(tiny_timm_vit(), dict(type=kind, count=3), quantizer).eval()
    other.load_state_dict(bare(tiny_timm_vit()).state_dict(), strict=False)
    load_task(other, path)
    assert equal(other(images()), before)


@pytest.mark.parametrize('net', ['mmdet_swin', 'timm_beit', 'dinov3', 'timm_sam', 'mmdet_resnet'])
@KINDS
def test_nets_whose_blocks_need_a_grid(net: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f'{kind!r} is invalid for .*: use a plain ViT'):
        AdaptedBackbone(tiny_config(net), dict(type=kind, count=3))


@pytest.mark.parametrize('net', ['timm_vit', 'mmseg_vit'])
def test_carried_prompts_are_refused_where_blocks_are_recomputed(net: str) -> None:
    with pytest.raises(ValueError, match="'ShallowPrompts' is invalid with activation checkpoint"):
        AdaptedBackbone(tiny_config(net, with_cp=True), dict(type='ShallowPrompts', count=3))
