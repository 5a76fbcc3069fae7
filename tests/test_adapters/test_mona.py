"""Mona: published counts, formula, quantized weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmqadapter.adapters import Mona, build_adapter
from mmqadapter.quant import quantized_weights


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ('width', 'expected'), [(128, 3_667_456), (192, 5_267_712)], ids=['Swin-B', 'Swin-L']
)
def test_published_totals(width: int, expected: int) -> None:
    """Two adapters per block and no other parameters."""
    widths = [width * 2**stage for stage in range(4)]
    pairs = zip((2, 2, 18, 2), widths, strict=True)
    assert sum(2 * depth * count(Mona(channels)) for depth, channels in pairs) == expected


def test_formula() -> None:
    adapter, x = Mona(8, width=4, dropout=0.5, scale=0.5).eval(), torch.randn(2, 1 + 15, 8)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    norm, down, up = adapter.norm, adapter.down, adapter.up
    normed = F.layer_norm(x, (8,), norm.norm.weight, norm.norm.bias)
    hidden = F.linear(normed * norm.normed_scale + x * norm.plain_scale, down.weight, down.bias)
    maps = hidden[:, 1:].transpose(1, 2).unflatten(2, (3, 5))
    convolved = [
        F.conv2d(maps, c.weight, c.bias, padding=size // 2, groups=4)
        for c, size in zip(adapter.mixing.convolutions, (3, 5, 7), strict=True)
    ]
    maps = maps + sum(convolved) / 3
    hidden = torch.cat([hidden[:, :1], maps.flatten(2).transpose(1, 2)], 1)
    hidden = hidden + F.linear(hidden, adapter.projector.weight, adapter.projector.bias)
    expected = 0.5 * F.linear(F.gelu(hidden), up.weight, up.bias)
    torch.testing.assert_close(adapter(x, (3, 5)), expected, rtol=1e-4, atol=1e-4)


def test_the_norm_starts_close_to_the_identity() -> None:
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(Mona(8).norm(x), x, rtol=0, atol=1e-5)


def test_the_three_projections_are_quantized() -> None:
    adapter = build_adapter(dict(type='Mona'), dict(type='GaussianQuantizer', bits=1), channels=8)
    names = [name for name, _, _ in quantized_weights(adapter)]
    assert names == ['down', 'projector', 'up']
    assert [adapter.get_submodule(name) for name in names] == adapter.matrices()


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        (dict(width=0), 'width=0 is invalid: expected 1 or more'),
        (dict(dropout=1.0), r'dropout=1\.0 is invalid: expected a number in \[0, 1\)'),
    ],
)
def test_wrong_settings_are_refused(settings: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Mona(8, **settings)
