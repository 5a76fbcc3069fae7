"""Merging of LoRA into every family of trunks, and plain configs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone, HighwayBackbone
from mmqadapter.backbones.projections import find_projections
from mmqadapter.interop.merge import merged_state
from mmqadapter.interop.plain_config import plain_config
from mmqadapter.taskfile.head_bits import train_quantized, trained_bits

Factory = Callable[..., dict[str, Any]]
LORAS: dict[str, dict[str, Any]] = {
    'q and v': dict(type='LoRA', rank=2, scale=2.0),
    'k': dict(type='LoRA', rank=2, targets='k', scale='learned'),
    'qkv': dict(type='LoRA', rank=2, targets='qkv', scale=0.5),
}
ONE_BIT = dict(type='GaussianQuantizer', bits=1)


@torch.no_grad()
def perturb(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)


def trained(cfg: dict[str, Any], adapter: dict[str, Any], **kwargs: Any) -> AdaptedBackbone:
    """Return a wrapped net in which every weight is changed, LayerScale too, in float64."""
    wrapped = AdaptedBackbone(cfg, adapter, **kwargs)
    perturb(wrapped)
    return wrapped.double().eval()


def plain_net(cfg: dict[str, Any], state: dict[str, Tensor]) -> nn.Module:
    """Return the plain net with exactly these weights."""
    net = MODELS.build(ConfigDict(cfg)).double()
    net.load_state_dict(state)
    net.eval()  # not chained: some nets return None
    return net


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)).double()


@pytest.mark.parametrize('bits', [1, 32])
@pytest.mark.parametrize('lora', LORAS)
@torch.no_grad()
def test_merged_net_computes_the_same(lora_backbone: Factory, lora: str, bits: int) -> None:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    wrapped = trained(lora_backbone(), LORAS[lora], quantizer=quantizer)
    trunk = {name: tensor.clone() for name, tensor in wrapped.trunk.state_dict().items()}
    net = plain_net(lora_backbone(), merged_state(wrapped))
    maps = [n(images()) for n in (net, wrapped, plain_net(lora_backbone(), trunk))]
    for merged, adapted, plain in zip(*maps, strict=True):
        torch.testing.assert_close(merged, adapted, rtol=1e-9, atol=1e-9)
        assert not torch.allclose(merged, plain, rtol=1e-6, atol=1e-6)
    for name, tensor in wrapped.trunk.state_dict().items():
        assert torch.equal(tensor, trunk[name])  # merging leaves the model as it was


@torch.no_grad()
def test_blocks_without_lora_keep_their_weights(lora_backbone: Factory) -> None:
    wrapped = trained(lora_backbone(), LORAS['qkv'], blocks='last-1')
    state = merged_state(wrapped)
    changed = {n for n, t in wrapped.trunk.state_dict().items() if not torch.equal(t, state[n])}
    projections = find_projections(list(wrapped.blocks.values())[-1], wrapped.family)
    assert len(changed) == len(projections) and state.keys() == wrapped.trunk.state_dict().keys()


def test_other_parts_of_a_model_are_unchanged(tiny_mmseg_vit: Factory) -> None:
    model = nn.Module()
    model.backbone, model.trunk = trained(tiny_mmseg_vit(), LORAS['k']), nn.Linear(2, 2)
    state = merged_state(model)
    plain = nn.Module()
    plain.backbone, plain.trunk = MODELS.build(ConfigDict(tiny_mmseg_vit())), nn.Linear(2, 2)
    plain.load_state_dict(state)
    assert torch.equal(state['trunk.weight'], model.trunk.weight)


def test_frozen_backbone_loses_only_its_key_level(tiny_mmdet_swin: Factory) -> None:
    wrapped = FrozenBackbone(tiny_mmdet_swin(), train='bitfit')
    plain_net(tiny_mmdet_swin(), merged_state(wrapped))


@pytest.mark.parametrize(
    ('build', 'text'),
    [
        (
            lambda cfg: AdaptedBackbone(cfg, dict(type='AdaptFormer', width=4)),
            r'^AdaptFormer cannot be merged.*linear change.*LoRA \(on q, k, v or qkv\) can',
        ),
        (
            lambda cfg: HighwayBackbone(cfg, dict(type='DualLowRankAdapter')),
            '^HighwayBackbone cannot be merged, because its side stream is a network beside.*LoRA',
        ),
        (
            lambda cfg: FrozenBackbone(cfg, trunk=dict(dtype='bfloat16')),
            r"^trunk\.dtype='bfloat16' cannot be merged.* rounded; merge with --cfg-options",
        ),
        (
            lambda cfg: MODELS.build(ConfigDict(cfg)),
            'has no wrapped backbone, so it is a plain model already',
        ),
    ],
)
def test_error_says_why_a_model_cannot_be_merged(
    build: Callable[..., nn.Module], text: str, tiny_mmdet_swin: Factory
) -> None:
    with pytest.raises(ValueError, match=text):
        merged_state(build(tiny_mmdet_swin()))


def test_quantized_head_is_saved_with_the_values_it_computes_with(tiny_timm_vit: Factory) -> None:
    model = nn.Module()
    model.backbone = trained(tiny_timm_vit(), LORAS['q and v'])
    model.head = nn.Conv2d(4, 4, 3).double()
    train_quantized(model, {'head': 1})
    merged = merged_state(model)
    assert 'head.weight' in merged and trained_bits(model) == {'head': 1}
    assert torch.equal(merged['head.weight'], model.head.weight)
    assert torch.equal(merged['head.bias'], model.head.bias)
    assert not torch.equal(merged['head.weight'], model.state_dict()['head.weight'])


@pytest.mark.parametrize('kind', ['AdaptedBackbone', 'backbones.AdaptedBackbone'])
@pytest.mark.parametrize('imports', ['mmqadapter', ['mmqadapter', 'mine'], []])
def test_plain_config_finds_the_wrapper_under_any_scope(kind: str, imports: Any) -> None:
    cfg = Config(dict(
        model=dict(backbone=dict(type=f'mmqadapter.{kind}', backbone=dict(type='mmseg.A', a=1))),
        custom_imports=dict(imports=imports),
    ))  # fmt: skip
    plain = plain_config(cfg)
    assert plain.model.backbone == dict(type='mmseg.A', a=1, init_cfg=None)
    expected = ['mine'] if 'mine' in imports else None
    assert plain.get('custom_imports', {}).get('imports') == expected
