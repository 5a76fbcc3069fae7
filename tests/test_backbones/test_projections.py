"""LoRA where q, k and v are separate, and where a net reads a weight without calling its layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nets import ADAPTERS, backward, bare, equal, images, merge_lora, randomize, trained, wrap
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


@torch.no_grad()
def test_lora_in_the_blocks_that_have_attention() -> None:
    """CaFormer has convolutions in its first stages."""
    cfg = tiny_config('timm_metaformer')
    with pytest.raises(ValueError, match='has 0 projections to q, k and v.*`blocks`'):
        AdaptedBackbone(cfg, ADAPTERS['lora'])
    plain = bare(cfg)
    torch.manual_seed(0)
    wrapped = AdaptedBackbone(cfg, ADAPTERS['lora'], blocks=r'stages\.1')
    wrapped.load_state_dict(plain.state_dict(), strict=False)
    assert equal(wrapped(images()), plain(images()))
    randomize(wrapped.adapters)
    for name, adapters in wrapped.adapters.items():
        block = next(m for n, m in plain.named_modules() if n.replace('.', '_') == name)
        q, _, v = block.token_mixer.qkv.weight.chunk(3)
        for part, weight in (('q', q), ('v', v)):
            product = adapters['qkv'].products[part]
            weight += 2 * product.up.weight @ product.down.weight
    torch.testing.assert_close(wrapped(images()), tuple(plain(images())), rtol=1e-4, atol=1e-4)
