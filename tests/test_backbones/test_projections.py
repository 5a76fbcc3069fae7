"""LoRA where q, k and v are separate, and where a net reads a weight without calling its layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nets import ADAPTERS, backward, bare, equal, images, merge_lora, trained, wrap
from tiny_backbones import tiny_config
from torch import nn

from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.backbones.projections import find_projections

EVA: dict[str, dict[str, Any]] = {
    'called': dict(model_name='vit_small_patch16_dinov3'),
    'read': dict(model_name='vit_small_patch16_dinov3_qkvb'),
    'separate': dict(model_name='eva02_base_patch14_448', img_size=56),
    'mixed-rope': dict(model_name='vit_small_patch16_rope_mixed_ape_224'),
    'inner-norm': dict(model_name='eva02_base_patch16_clip_224'),
}
NETS = pytest.mark.parametrize('net', EVA)


@NETS
@pytest.mark.parametrize('adapter', ['lora', 'lora-qkv'])
@torch.no_grad()
def test_lora_equals_merged_weights(net: str, adapter: str) -> None:
    cfg = tiny_config('dinov3', **EVA[net])
    plain, wrapped = bare(cfg), trained(cfg, adapter).eval()
    before = plain(images())
    merge_lora(plain, wrapped)
    for out, expected, unmerged in zip(wrapped(images()), plain(images()), before, strict=True):
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
        assert (out - unmerged).abs().max() > 1e-2


@NETS
def test_gradients_and_start(net: str) -> None:
    cfg = tiny_config('dinov3', **EVA[net])
    wrapped = wrap(cfg, 'lora')
    assert equal(wrapped(images()), bare(cfg)(images()))
    gradients = backward(trained(cfg, 'lora').train())
    moved = {name for name, gradient in gradients.items() if gradient is not None}
    assert moved == {name for name in gradients if name.startswith('adapters.')}


@pytest.mark.parametrize(
    ('net', 'parts', 'reads'),
    [('called', ['qkv'], False), ('read', ['qkv'], True), ('separate', ['q', 'k', 'v'], False)],
)
def test_what_is_found(net: str, parts: list[str], reads: bool) -> None:
    wrapped = AdaptedBackbone(tiny_config('dinov3', **EVA[net]), ADAPTERS['lora'])
    for block in wrapped.blocks.values():
        found = find_projections(block, wrapped.family)
        assert [projection.part for projection in found] == parts
        assert all((projection.reader is not None) == reads for projection in found)


@pytest.mark.parametrize('options', [dict(dtype='bfloat16'), dict(dtype='int8', prepacked=True)])
@torch.no_grad()
def test_a_weight_that_is_read_stays_a_weight(options: dict) -> None:
    if options['dtype'] == 'int8':
        pytest.importorskip('torchao', reason='torchao is not installed; `make env` brings it')
    cfg = tiny_config('dinov3')
    wrapped, exact = trained(cfg, 'lora', trunk=options), trained(cfg, 'lora')
    for out, expected in zip(wrapped(images()), exact(images()), strict=True):
        assert (out - expected).norm() / expected.norm() < 0.03


def test_other_widths_are_refused() -> None:
    cfg = tiny_config('dinov3', model_name='vit_small_patch16_dinov3', num_kv_heads=1)
    cfg.update(attn_type='rope', qkv_fused=False)
    with pytest.raises(ValueError, match=r'LoRA is invalid for EvaBlock: .*\(8, 16\).*AdaptFormer'):
        AdaptedBackbone(cfg, ADAPTERS['lora'])
    assert isinstance(AdaptedBackbone(cfg, ADAPTERS['adaptformer']), nn.Module)
