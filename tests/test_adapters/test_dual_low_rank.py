"""Low-rank adapters: published counts, formula, start, gradients, quantization."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mmqadapter.adapters import Adapter, DualLowRankAdapter, build_adapter
from mmqadapter.quant import quantized_weights

BITS = pytest.mark.parametrize('bits', [1, 2, 4, 8, 32])
KINDS = pytest.mark.parametrize('kind', ['DualLowRankAdapter', 'LoRand'])


def build(kind: str, bits: int = 32, **settings: object) -> Adapter:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    return build_adapter(dict(type=kind, **settings), quantizer, channels=16)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize('channels', [96, 128, 192, 1536])
def test_published_shape_has_49_and_a_half_weights_per_channel(channels: int) -> None:
    assert count(DualLowRankAdapter(channels)) == 49.5 * channels
    assert count(DualLowRankAdapter(channels, branches=3, rank=4)) == 37.5 * channels
    assert count(DualLowRankAdapter(channels, scale='learned')) == 49.5 * channels + 1


@pytest.mark.parametrize(
    ('depths', 'width', 'expected'),
    [((2, 2, 18, 2), 128, 1_195_008), ((2, 2, 18, 2), 192, 1_792_512)],
    ids=['Swin-B', 'Swin-L'],
)
def test_published_totals(depths: tuple[int, ...], width: int, expected: int) -> None:
    """Two adapters per block and one norm (weight and bias) per stage."""
    widths = [width * 2**stage for stage in range(4)]
    pairs = zip(depths, widths, strict=True)
    total = sum(2 * depth * count(DualLowRankAdapter(c)) + 2 * c for depth, c in pairs)
    assert total == expected


def test_projections_are_sums_of_low_rank_products() -> None:
    adapter, x = DualLowRankAdapter(16, branches=3, rank=2, scale=0.5), torch.randn(2, 5, 16)
    torch.nn.init.normal_(adapter.up.outer.weight)
    for parameter in (adapter.down.outer.bias, adapter.up.outer.bias):
        torch.nn.init.normal_(parameter)

    def projection(layer: torch.nn.Module) -> torch.Tensor:
        inner, outer = layer.inner.weight, layer.outer.weight
        return sum(outer[:, b : b + 2] @ inner[b : b + 2] for b in (0, 2, 4))

    hidden = F.gelu(x @ projection(adapter.down).T + adapter.down.outer.bias)
    expected = hidden @ projection(adapter.up).T + adapter.up.outer.bias
    assert projection(adapter.down).shape == (8, 16) and projection(adapter.up).shape == (16, 8)
    assert torch.linalg.matrix_rank(projection(adapter.down)) == 6
    torch.testing.assert_close(adapter(x), 0.5 * expected, rtol=1e-4, atol=1e-5)


@KINDS
@pytest.mark.parametrize('scale', [1.0, 'learned'])
def test_a_float_adapter_starts_at_zero_and_gets_a_gradient(kind: str, scale: float | str) -> None:
    adapter = build(kind, scale=scale)
    change = adapter(torch.randn(2, 9, 16))
    assert not change.any()
    (change * torch.randn_like(change)).sum().backward()
    moving = {name for name, p in adapter.named_parameters() if p.grad.any()}
    assert moving == {'up.outer.weight', 'up.outer.bias'}


@KINDS
@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_a_quantized_adapter_starts_at_zero_only_with_a_learned_scale(kind: str, bits: int) -> None:
    x = torch.randn(2, 9, 16)
    assert not build(kind, bits, scale='learned')(x).any()
    assert 0 < build(kind, bits)(x).abs().max() < 0.05


@KINDS
@BITS
@pytest.mark.parametrize('scale', [1.0, 'learned'])
def test_training_moves_every_parameter_and_fits(kind: str, bits: int, scale: float | str) -> None:
    adapter, x = build(kind, bits, scale=scale), torch.randn(2, 9, 16)
    start = {name: p.detach().clone() for name, p in adapter.named_parameters()}
    target = torch.randn(16)
    optimizer = torch.optim.Adam(adapter.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (adapter(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert not any(torch.equal(p, start[name]) for name, p in adapter.named_parameters())
    assert losses[-1] < 0.5 * losses[0]


@KINDS
def test_factors_are_quantized_and_biases_are_not(kind: str) -> None:
    adapter = build(kind, 1)
    names = [name for name, _, _ in quantized_weights(adapter)]
    assert names == ['down.inner', 'down.outer', 'up.inner', 'up.outer']
    layers = [adapter.get_submodule(name) for name in names]
    assert adapter.matrices() == layers
    assert all(layer.weight.unique().numel() == 2 for layer in layers)


@KINDS
def test_only_the_last_factor_starts_as_a_narrow_normal(kind: str) -> None:
    latents = {name: latent for name, _, latent in quantized_weights(build(kind, 1))}
    assert latents.pop('up.outer').abs().max() <= 2e-3
    assert all(latent.abs().max() > 0.05 for latent in latents.values())


@KINDS
@pytest.mark.parametrize(('branches', 'rank'), [(0, 8), (2, 0), (-1, 1)])
def test_wrong_settings_are_refused(kind: str, branches: int, rank: int) -> None:
    with pytest.raises(ValueError, match=r'(branches|rank)=(0|-1) is invalid: expected 1 or more'):
        build(kind, branches=branches, rank=rank)
