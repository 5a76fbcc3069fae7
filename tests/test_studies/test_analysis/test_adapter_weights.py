from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmqadapter.quant import quantized_weights
from mmqadapter.studies.analysis.adapter_weights import (
    float_matrices,
    quantizable_names,
    require_adapters,
    tuned_weights,
)

HIGHWAY = dict(
    type='mmqadapter.HighwayBackbone',
    adapter=dict(type='DualLowRankAdapter', rank=4),
    downsample='low-rank',
    stem='ConvStem',
)
WRAPPERS: dict[str, dict[str, Any]] = {
    'adaptformer': dict(adapter=dict(type='AdaptFormer', width=4, bias=True)),
    'lora': dict(adapter=dict(type='LoRA', rank=4)),
    'mona': dict(adapter=dict(type='Mona', width=4)),
    'lorand': dict(adapter=dict(type='LoRand', rank=4)),
    'ssf': dict(adapter=dict(type='SSF', scale=1.0)),
    'highway': HIGHWAY,
    'highway with convolutions': {
        **HIGHWAY,
        'adapter': dict(type='ConvAdapter', width=4),
        'cell': 'JoinedCell',
    },
}


class Detector(nn.Module):
    """Model with a backbone under the name that detectors and segmentors use."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone


def build(net: dict[str, Any], bits: int | None, **wrapper: Any) -> Any:
    torch.manual_seed(0)
    quantizer = dict(type='GaussianQuantizer', bits=bits) if bits else None
    config = {'type': 'mmqadapter.AdaptedBackbone', **wrapper, 'backbone': net}
    return Detector(MODELS.build(dict(config, quantizer=quantizer)).eval())


@torch.no_grad()
def outputs(model: Any) -> list[Tensor]:
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    return [*model.backbone(images)]


@pytest.mark.parametrize('kind', WRAPPERS)
def test_decoded_weights_are_what_the_model_computes_with(kind: str, tiny_mmseg_swin) -> None:
    model = build(tiny_mmseg_swin(), 1, **WRAPPERS[kind])
    before = outputs(model)
    weights = tuned_weights(model)
    for expected, actual in zip(before, outputs(model), strict=True):
        assert torch.equal(expected, actual)
    names = quantizable_names(model.backbone.adapters)
    assert names and all(len(weights[name].unique()) == 2 for name in names)
    # Biases, norms and scales are left out, but for vectors that are all an adapter has.
    assert min(weight.ndim for weight in weights.values()) == (1 if kind == 'ssf' else 2)
    # These are the parameters of the model: changing one changes the output.
    with torch.no_grad():
        weights[names[-1]].add_(1)
    changed = outputs(model)
    assert any(not torch.equal(map_, new) for map_, new in zip(before, changed, strict=True))


@pytest.mark.parametrize('kind', WRAPPERS)
def test_float_model_has_the_same_quantizable_weights(kind: str, tiny_mmseg_swin) -> None:
    quantized = build(tiny_mmseg_swin(), 2, **WRAPPERS[kind]).backbone.adapters
    plain = build(tiny_mmseg_swin(), None, **WRAPPERS[kind]).backbone.adapters
    before = {name: p.clone() for name, p in plain.named_parameters()}
    assert quantizable_names(plain) == [
        f'{name}.weight' for name, *_ in quantized_weights(quantized)
    ]
    assert [*float_matrices(plain)] == [*float_matrices(quantized)]
    assert before.keys() == {name for name, _ in plain.named_parameters()}
    assert all(torch.equal(before[name], p) for name, p in plain.named_parameters())


def test_latent_weights_stay_behind_their_quantizer(tiny_mmseg_swin) -> None:
    model = build(tiny_mmseg_swin(), 1, **WRAPPERS['adaptformer'])
    latents = {f'{n}.weight': w for n, _, w in quantized_weights(model.backbone.adapters)}
    weights = tuned_weights(model, 'latent')
    assert latents.keys() == weights.keys()
    assert all(weights[name] is latent for name, latent in latents.items())
    with pytest.raises(ValueError, match=r"weights='codes' is invalid: expected one of"):
        tuned_weights(model, 'codes')


def test_task_file_has_no_latent_weights(tiny_mmseg_swin) -> None:
    model = build(tiny_mmseg_swin(), 4, **WRAPPERS['adaptformer'])
    for _, quantizer, latent in quantized_weights(model.backbone.adapters):
        quantizer.fold(quantizer.encode(latent), latent)
    for refused in (
        lambda: tuned_weights(model, 'latent'),
        lambda: float_matrices(model.backbone.adapters),
    ):
        with pytest.raises(ValueError, match='4 bits for each weight of .* training checkpoint'):
            refused()
    assert tuned_weights(model)


def test_weights_of_a_full_model_are_those_of_its_backbone(tiny_mmseg_swin) -> None:
    model = Detector(MODELS.build(tiny_mmseg_swin()))
    weights = tuned_weights(model)
    named = dict(model.backbone.named_parameters())
    assert weights and all(named[name] is weight for name, weight in weights.items())
    assert {n for n in named if n not in weights} == {n for n, p in named.items() if p.ndim < 2}
    with pytest.raises(ValueError, match='ReLU has no backbone'):
        tuned_weights(nn.ReLU())


def test_a_model_without_adapters_is_refused(tiny_mmseg_swin) -> None:
    frozen = MODELS.build(dict(type='mmqadapter.FrozenBackbone', backbone=tiny_mmseg_swin()))
    with pytest.raises(ValueError, match='FrozenBackbone has no adapters to study'):
        require_adapters(Detector(frozen))
    with pytest.raises(ValueError, match='Linear has no adapters'):
        require_adapters(nn.Linear(1, 1))
