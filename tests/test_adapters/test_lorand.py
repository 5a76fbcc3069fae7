"""LoRand: counts, formula, start of the cores, quantized weights, task files."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmqadapter.adapters import Adapter, LoRand, build_adapter
from mmqadapter.quant import quantized_weights
from mmqadapter.taskfile.adapter_codec import decode_adapters, encode_adapters


def build(bits: int = 32, **settings: object) -> Adapter:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    return build_adapter(dict(type='LoRand', **settings), quantizer, channels=16)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize('channels', [96, 128, 1536])
def test_parameter_counts(channels: int) -> None:
    assert count(LoRand(channels)) == 49.5 * channels + 256
    assert count(LoRand(channels, branches=4)) == 97.5 * channels + 512
    assert count(LoRand(channels, branches=3, rank=4)) == 37.5 * channels + 96
    assert count(LoRand(channels, scale='learned')) == 49.5 * channels + 257


@pytest.mark.parametrize('branches', [1, 2, 4])
def test_projections_are_sums_of_products_with_cores(branches: int) -> None:
    adapter, x = LoRand(16, branches=branches, rank=2, scale=0.5), torch.randn(2, 5, 16)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)

    def projection(layer: nn.Module) -> torch.Tensor:
        inner, outer = layer.inner.weight, layer.outer.weight
        slices = [slice(2 * b, 2 * b + 2) for b in range(branches)]
        parts = zip(slices, layer.cores, strict=True)
        return sum(outer[:, part] @ core @ inner[part] for part, core in parts)

    hidden = F.gelu(x @ projection(adapter.down).T + adapter.down.outer.bias)
    expected = hidden @ projection(adapter.up).T + adapter.up.outer.bias
    assert projection(adapter.down).shape == (8, 16) and projection(adapter.up).shape == (16, 8)
    assert torch.linalg.matrix_rank(projection(adapter.down)) == 2 * branches
    torch.testing.assert_close(adapter(x), 0.5 * expected, rtol=1e-4, atol=1e-4)


def test_cores_start_kaiming_uniform() -> None:
    cores = [*(adapter := LoRand(512, branches=200)).down.cores, *adapter.up.cores]
    weights = torch.stack(cores)
    assert weights.shape == (400, 8, 8)
    assert weights.abs().max() <= math.sqrt(1 / 8)
    torch.testing.assert_close(weights.std(), torch.tensor(24.0).rsqrt(), rtol=0.03, atol=0)


@pytest.mark.parametrize('bits', [1, 2, 4])
def test_factors_are_quantized_but_not_cores_or_biases(bits: int) -> None:
    adapter = build(bits, branches=4)
    names = [name for name, _, _ in quantized_weights(adapter)]
    assert names == ['down.inner', 'down.outer', 'up.inner', 'up.outer']
    layers = [adapter.get_submodule(name) for name in names]
    assert adapter.matrices() == layers
    assert all(layer.weight.unique().numel() <= 2**bits for layer in layers)
    assert all(core.unique().numel() == 64 for core in adapter.down.cores)


@pytest.mark.parametrize('bits', [1, 32])
def test_a_task_file_restores_the_same_adapter(bits: int) -> None:
    trained, fresh, x = build(bits, branches=4), build(bits, branches=4), torch.randn(2, 9, 16)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter))
    decode_adapters(fresh, encode_adapters(trained), trainable=False)
    assert torch.equal(fresh(x), trained(x))
