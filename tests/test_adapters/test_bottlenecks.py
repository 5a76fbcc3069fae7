"""AdaptFormer and SequentialAdapter: counts, formula, dropout."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mmqadapter.adapters import AdaptFormer, SequentialAdapter


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize('channels', [96, 768])
def test_parameter_counts(channels: int) -> None:
    assert count(AdaptFormer(channels, 64, bias=True)) == 129 * channels + 64
    assert count(AdaptFormer(channels, 64)) == 128 * channels
    assert count(SequentialAdapter(channels, 64)) == 129 * channels + 64
    assert count(SequentialAdapter(channels, 64, bias=False)) == 128 * channels
    assert count(SequentialAdapter(channels, 64, scale='learned')) == 129 * channels + 65


def test_sites() -> None:
    assert AdaptFormer.sites == ('mlp_parallel',)
    assert SequentialAdapter.sites == ('attn_branch', 'mlp_branch')


def test_adaptformer_is_a_bottleneck_with_relu() -> None:
    adapter, x = AdaptFormer(8, 3, bias=True, scale=0.1).eval(), torch.randn(2, 5, 8)
    torch.nn.init.normal_(adapter.up.weight)
    torch.nn.init.normal_(adapter.down.bias)
    hidden = (x @ adapter.down.weight.T + adapter.down.bias).clamp(min=0)
    torch.testing.assert_close(adapter(x), 0.1 * hidden @ adapter.up.weight.T)


def test_sequential_adapter_is_a_bottleneck_with_gelu() -> None:
    adapter, x = SequentialAdapter(8, 3, bias=False).train(), torch.randn(2, 5, 8)
    torch.nn.init.normal_(adapter.up.weight)
    hidden = F.gelu(x @ adapter.down.weight.T)
    torch.testing.assert_close(adapter(x), hidden @ adapter.up.weight.T)


def test_dropout_acts_in_training_only() -> None:
    adapter, x = AdaptFormer(8, 4, dropout=0.5), torch.randn(50, 8)
    torch.nn.init.normal_(adapter.up.weight)
    assert not torch.equal(adapter.train()(x), adapter(x))
    assert torch.equal(adapter.eval()(x), adapter(x))


def test_dropout_may_be_off() -> None:
    adapter, x = AdaptFormer(8, 4, dropout=0).train(), torch.randn(50, 8)
    torch.nn.init.normal_(adapter.up.weight)
    assert torch.equal(adapter(x), adapter(x))
