"""Conv-Adapter: formula, counts, start, quantized weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmqadapter.adapters import ParallelConvAdapter, build_adapter
from mmqadapter.quant import quantized_weights


def randomized(**settings: Any) -> ParallelConvAdapter:
    adapter = ParallelConvAdapter(**settings)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    return adapter


@pytest.mark.parametrize('groups', [dict(channels=8), dict(channels=6, outputs=5)], ids=str)
@pytest.mark.parametrize(('stride', 'dilation', 'kernel'), [(1, 1, 3), (2, 1, 5), (1, 2, 3)])
def test_formula(groups: dict, stride: int, dilation: int, kernel: int) -> None:
    where = dict(stride=stride, dilation=dilation)
    adapter = randomized(**groups, **where, kernel_size=kernel, compression=2, scale=0.5)
    x, channels = torch.randn(2, groups['channels'], 7, 10), groups['channels']
    outputs = groups.get('outputs', channels)
    # Each bottleneck channel reads `compression` channels of the input.
    assert adapter.down.weight.shape == (channels // 2, 2, kernel, kernel)
    padding = dilation * (kernel // 2)
    hidden = F.conv2d(x, adapter.down.weight, None, stride, padding, dilation, channels // 2)
    change = torch.einsum('or,brhw->bohw', adapter.up.weight, hidden.relu())
    trunk = nn.Conv2d(channels, outputs, kernel, stride, padding, dilation)(x)
    expected = trunk + 0.5 * change * adapter.alpha[:, None, None]
    torch.testing.assert_close(adapter.beside(x, trunk), expected, rtol=1e-4, atol=1e-4)


def test_starts_at_zero_with_factors_of_one() -> None:
    adapter, x = ParallelConvAdapter(8), torch.randn(2, 8, 5, 5)
    assert torch.equal(adapter.beside(x, x), x)
    assert torch.equal(adapter.alpha, torch.ones(8))


def test_count_of_a_bottleneck() -> None:
    """9 C + C^2 / 4 weights and C factors, as beside the 64 channels of a ResNet-50's stage 1."""
    assert sum(p.numel() for p in ParallelConvAdapter(64).parameters()) == 576 + 1024 + 64


@pytest.mark.parametrize(('channels', 'groups'), [(18, 2), (3, 1), (2, 1)])
def test_channels_that_the_compression_does_not_divide(channels: int, groups: int) -> None:
    adapter, x = randomized(channels=channels), torch.randn(2, channels, 5, 5)
    assert adapter.down.groups == groups
    assert adapter.beside(x, x).shape == x.shape


@pytest.mark.parametrize('bits', [1, 8])
def test_both_layers_are_quantized(bits: int) -> None:
    config = dict(type='ParallelConvAdapter', scale='learned')
    adapter = build_adapter(config, dict(type='GaussianQuantizer', bits=bits), channels=16)
    assert isinstance(adapter, ParallelConvAdapter)
    names = [name for name, _, _ in quantized_weights(adapter)]
    assert names == ['down', 'up']
    assert [adapter.get_submodule(name) for name in names] == adapter.matrices()
    assert all(len(layer.weight.unique()) <= 2**bits for layer in adapter.matrices())
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(adapter.beside(x, x), x)  # the scale starts at 0


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        (dict(kernel_size=4), 'kernel_size=4 is invalid: expected an odd number'),
        (dict(kernel_size=(3, 5)), r'kernel_size=\(3, 5\) is invalid: expected an odd number'),
        (dict(compression=0), 'compression=0 is invalid: expected 1 or more'),
    ],
)
def test_wrong_settings_are_refused(settings: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ParallelConvAdapter(8, **settings)
