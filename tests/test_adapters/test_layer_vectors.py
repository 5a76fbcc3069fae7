"""SSF, BitFit and norm tuning: formula, layers, start, and one quantizer per vector."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mmqadapter.adapters import SSF, BitFit, LayerVectors, NormTuning, build_adapter
from mmqadapter.quant import quantized_weights

KINDS = [SSF, BitFit, NormTuning]
OUTPUTS = {'norm1': 16, 'mlp.fc1': 64}


class LayerNorm2d(nn.LayerNorm):
    """Norm over the first axis of maps, as timm's and mmpretrain's."""


def randomized(kind: type[LayerVectors], **settings: Any) -> LayerVectors:
    adapter = kind(16, outputs=OUTPUTS, **settings)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    return adapter


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('layer', OUTPUTS)
def test_formula(kind: type[LayerVectors], layer: str) -> None:
    adapter, y = randomized(kind, scale=0.5), torch.randn(2, 9, OUTPUTS[layer])
    name = layer.replace('.', '_')
    vectors = {n.split('.')[0]: p for n, p in adapter.named_parameters() if f'.{name}.' in n}
    assert sorted(vectors) == (['shifts'] if kind is BitFit else ['gains', 'shifts'])
    gain = vectors.get('gains', torch.zeros(1))
    torch.testing.assert_close(
        adapter(y, part=layer), y * (1 + 0.5 * gain) + 0.5 * vectors['shifts']
    )


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_starts_at_the_trunk_in_its_dtype(kind: type[LayerVectors], dtype: torch.dtype) -> None:
    y = torch.randn(2, 9, 16).to(dtype)
    changed = kind(16, outputs=OUTPUTS)(y, part='norm1')
    assert changed.dtype == dtype
    assert torch.equal(changed, y)


@pytest.mark.parametrize(
    ('kind', 'names'),
    [
        (SSF, ['linear', 'bare', 'norm', 'plain']),
        (BitFit, ['linear', 'norm']),
        (NormTuning, ['norm', 'plain']),
    ],
)
def test_layers_of_a_block(kind: type[LayerVectors], names: list[str]) -> None:
    block = nn.ModuleDict(
        {
            'linear': nn.Linear(4, 6),
            'bare': nn.Linear(4, 6, bias=False),
            'norm': nn.LayerNorm(4),
            'plain': nn.LayerNorm(4, elementwise_affine=False),
            'maps': LayerNorm2d(4),
            'batch': nn.BatchNorm2d(4),
            'convolution': nn.Conv2d(4, 4, 1),
        }
    )
    sizes = {'linear': 6, 'bare': 6, 'norm': 4, 'plain': 4}
    assert kind.layers_of(block) == {name: sizes[name] for name in names}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_each_vector_is_quantized_by_itself(kind: type[LayerVectors], bits: int) -> None:
    config = dict(type=kind.__name__, outputs=OUTPUTS)
    adapter: Any = build_adapter(config, dict(type='GaussianQuantizer', bits=bits), channels=16)
    vectors = adapter.matrices()
    assert len(list(quantized_weights(adapter))) == len(vectors) == (2 if kind is BitFit else 4)
    assert [len(vector.weight) for vector in vectors] == [16, 64] * (len(vectors) // 2)
    assert all(2 <= len(vector.weight.unique()) <= 2**bits for vector in vectors)
    # Each has a deviation of about 1e-3, and no number is far from zero.
    assert all(0 < vector.weight.abs().max() < 4e-3 for vector in vectors)


@pytest.mark.parametrize('kind', KINDS)
def test_quantized_it_starts_at_the_trunk_too(kind: type[LayerVectors]) -> None:
    config = dict(type=kind.__name__, outputs=OUTPUTS)
    adapter = build_adapter(config, dict(type='GaussianQuantizer', bits=1), channels=16)
    y = torch.randn(2, 9, 16)
    assert torch.equal(adapter(y, part='norm1'), y)
    fixed = build_adapter(
        dict(config, scale=1), dict(type='GaussianQuantizer', bits=1), channels=16
    )
    assert 0 < (fixed(y, part='norm1') - y).abs().max() < 0.02


def test_one_mean_per_channel_is_refused() -> None:
    quantizer = dict(type='GaussianQuantizer', bits=1, granularity='channel')
    with pytest.raises(ValueError, match="'channel' is invalid for a vector.*use 'tensor'"):
        build_adapter(dict(type='SSF', outputs=OUTPUTS), quantizer, channels=16)


@pytest.mark.parametrize('scale', [0, 'trained', float('inf')])
def test_wrong_scale(scale: Any) -> None:
    with pytest.raises(ValueError, match=f'scale={scale!r} is invalid'):
        SSF(16, scale=scale)
