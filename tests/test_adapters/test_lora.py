"""LoRA: parameter counts, which projections change, and parity with merging into the weight."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from mmqadapter.adapters import LoRA, build_adapter

TARGETS = pytest.mark.parametrize(
    ('targets', 'changed'),
    [(('q', 'v'), 'qv'), ('k', 'k'), ('qkv', 'qkv'), (['v', 'k', 'q'], 'qkv')],
)


def trained(targets: str | Sequence[str], bits: int = 32, scale: float | str = 0.5) -> LoRA:
    """Return an adapter as after some training: neither a matrix nor the scale is zero."""
    lora = build_adapter(
        dict(type='LoRA', rank=3, targets=targets, scale=scale),
        dict(type='GaussianQuantizer', bits=bits),
        channels=8,
    )
    assert isinstance(lora, LoRA)
    for parameter in lora.parameters():
        torch.nn.init.normal_(parameter)
    return lora


@pytest.mark.parametrize(
    ('targets', 'expected'),
    [
        (('q', 'v'), 4 * 768 * 8),
        ('q', 2 * 768 * 8),
        (('q', 'k', 'v'), 6 * 768 * 8),
        ('qkv', 4 * 768 * 8),
    ],
)
def test_parameter_counts(targets: str | tuple[str, ...], expected: int) -> None:
    assert sum(p.numel() for p in LoRA(768, 8, targets).parameters()) == expected


@TARGETS
@pytest.mark.parametrize('bits', [1, 32])
def test_adding_to_the_output_equals_merging_into_the_weight(
    targets: str | Sequence[str], changed: str, bits: int
) -> None:
    lora, x = trained(targets, bits), torch.randn(2, 5, 8)
    weight, bias = torch.randn(24, 8), torch.randn(24)
    added = lora(x, x @ weight.T + bias)
    torch.testing.assert_close(added, x @ lora.merge(weight).T + bias, rtol=1e-4, atol=1e-4)


@TARGETS
def test_only_the_targets_change(targets: str | Sequence[str], changed: str) -> None:
    lora, weight = trained(targets), torch.randn(24, 8)
    parts = zip('qkv', weight.chunk(3), lora.merge(weight).chunk(3), strict=True)
    assert ''.join(name for name, old, new in parts if not torch.equal(old, new)) == changed


def test_change_is_scale_times_up_times_down() -> None:
    lora, weight = trained(('q', 'v'), scale=0.25), torch.zeros(24, 8)
    product = lora.products['v']
    expected = 0.25 * product.up.weight @ product.down.weight
    torch.testing.assert_close(lora.merge(weight)[16:], expected)


def test_a_learned_scale_multiplies_the_merged_change() -> None:
    lora, x = trained('qkv', scale='learned'), torch.randn(5, 8)
    torch.testing.assert_close(lora(x, torch.zeros(5, 24)), x @ lora.merge(torch.zeros(24, 8)).T)
