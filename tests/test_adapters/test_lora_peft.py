"""LoRA trains as PEFT's LoRA does, from equal weights on equal data, within rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.backbones import AdaptedBackbone

peft = pytest.importorskip('peft', reason='PEFT is not installed; run `make env`')

Factory = Callable[..., dict[str, Any]]
RANK, SCALE = 4, 2.0
DTYPES = pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.float64, 1e-9)]
)


def with_lora(backbone: dict[str, Any], targets: Any, dtype: torch.dtype) -> AdaptedBackbone:
    adapter = dict(type='LoRA', rank=RANK, targets=targets, scale=SCALE)
    return AdaptedBackbone(backbone, adapter).to(dtype)


def with_peft(net: AdaptedBackbone, backbone: dict[str, Any], rank: int) -> nn.Module:
    """Return the same frozen net with PEFT's LoRA on its fused projections."""
    trunk = MODELS.build(backbone).eval().to(next(net.parameters()).dtype)
    trunk.load_state_dict(net.trunk.state_dict())
    config = peft.LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=['qkv'])
    return peft.inject_adapter_in_model(config, trunk)


def pairs(net: AdaptedBackbone, peft_net: nn.Module) -> list[tuple[nn.ModuleDict, Any]]:
    """Return the products of our LoRA and the layer of PEFT, block by block."""
    layers = [m for m in peft_net.modules() if isinstance(m, peft.tuners.lora.Linear)]
    products = [adapters['qkv'].products for adapters in net.adapters.values()]
    return list(zip(products, layers, strict=True))


def factors(layer: Any) -> tuple[nn.Parameter, nn.Parameter]:
    return layer.lora_A['default'].weight, layer.lora_B['default'].weight


def train(net: nn.Module, dtype: torch.dtype) -> tuple[list[float], Tensor]:
    """Train some steps on seeded random data; return the losses and the last map afterwards."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, 64, 64, generator=generator, dtype=dtype)
    target = torch.randn(2, 16, 4, 4, generator=generator, dtype=dtype)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(6):
        loss = F.mse_loss(net(images)[-1], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, net(images)[-1].detach()


@DTYPES
def test_one_product_for_the_fused_projection_trains_as_in_peft(
    tiny_timm_vit: Factory, dtype: torch.dtype, tolerance: float
) -> None:
    net = with_lora(tiny_timm_vit(), 'qkv', dtype)
    peft_net = with_peft(net, tiny_timm_vit(), RANK)
    for products, layer in pairs(net, peft_net):
        for factor, value in zip(factors(layer), products.parameters(), strict=True):
            factor.data.copy_(value)
    start = [p.detach().clone() for p in net.adapters.parameters()]
    (losses, output), (peft_losses, peft_output) = (train(n, dtype) for n in (net, peft_net))
    close = dict(rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(losses, peft_losses, **close)
    torch.testing.assert_close(output, peft_output, **close)
    assert losses[-1] < losses[0]
    assert not any(map(torch.equal, start, net.adapters.parameters()))
    for products, layer in pairs(net, peft_net):
        torch.testing.assert_close([*products.parameters()], [*factors(layer)], **close)


@DTYPES
def test_separate_products_are_blocks_of_one_product_of_the_summed_rank(
    tiny_timm_vit: Factory, dtype: torch.dtype, tolerance: float
) -> None:
    """B = [Bq 0; 0 0; 0 Bv] and A = [Aq; Av]: equal maps, and equal gradients of these blocks."""
    net = with_lora(tiny_timm_vit(), ('q', 'v'), dtype)
    peft_net = with_peft(net, tiny_timm_vit(), 2 * RANK)
    for products, layer in pairs(net, peft_net):
        for product in products.values():
            nn.init.normal_(product.up.weight, std=0.1)
        q, v = products['q'], products['v']
        blocks = torch.block_diag(q.up.weight, torch.zeros(16, 0, dtype=dtype), v.up.weight)
        a, b = factors(layer)
        a.data.copy_(torch.cat([q.down.weight, v.down.weight]))
        b.data.copy_(blocks)
    images = torch.randn(2, 3, 64, 64, dtype=dtype)
    maps = [n(images)[-1] for n in (net, peft_net)]
    for output in maps:
        output.square().sum().backward()
    close = dict(rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(*maps, **close)
    for products, layer in pairs(net, peft_net):
        a, b = (factor.grad for factor in factors(layer))
        q, v = products['q'], products['v']
        expected = [a[:RANK], b[:16, :RANK], a[RANK:], b[32:, RANK:]]
        actual = [m.weight.grad for m in (q.down, q.up, v.down, v.up)]
        torch.testing.assert_close(actual, expected, **close)
