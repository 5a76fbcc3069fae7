"""A training step never asks a GPU for a value, and copies nothing to or from it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fake_device import Transfers, cuda_autocast, fake_device, move
from mmengine.registry import MODELS
from old_torch import needs_torch
from quantized_models import PATTERNS, make
from tiny_backbones import TINY
from torch import Tensor, nn

from mmqadapter.backbones.batched_quantizers import quantize_beside_backbone
from mmqadapter.taskfile.head_bits import layer_bits, train_quantized

ADAPTERS: dict[str, dict[str, Any]] = {
    'AdaptFormer': dict(type='AdaptFormer', width=4),
    'ConvAdapter': dict(type='ConvAdapter', width=4),
    'LoRA': dict(type='LoRA', rank=2, targets='qkv'),
    'Mona': dict(type='Mona', width=4),
    'LoRand': dict(type='LoRand'),
}
HIGHWAYS: dict[str, dict[str, Any]] = {
    'published': dict(adapter=dict(type='DualLowRankAdapter', branches=2, rank=2)),
    'joined': dict(
        adapter=dict(type='ConvAdapter', width=4),
        taps='stream',
        cell='JoinedCell',
        saved_taps='half',
    ),
    'standardized': dict(
        adapter=dict(type='ConvAdapter', width=4),
        taps='block',
        cell='StandardizedCell',
        saved_taps='half',
    ),
}
WRAPPERS = {
    **{name: dict(type='mmqadapter.AdaptedBackbone', adapter=a) for name, a in ADAPTERS.items()},
    **{name: dict(type='mmqadapter.HighwayBackbone', **h) for name, h in HIGHWAYS.items()},
}


def build(net: str, wrapper: str, bits: int) -> nn.Module:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    return MODELS.build(dict(WRAPPERS[wrapper], backbone=TINY[net], quantizer=quantizer)).train()


def images(device: str) -> Tensor:
    return torch.empty(2, 3, 64, 64, device=device)


@pytest.mark.parametrize('bits', [1, 32])
@pytest.mark.parametrize('wrapper', WRAPPERS)
@pytest.mark.parametrize('net', ['mmdet_swin', 'timm_vit'])
def test_forward_on_a_gpu(net: str, wrapper: str, bits: int) -> None:
    model = build(net, wrapper, bits)
    with fake_device() as mode:
        move(model, mode, 'cuda')
        model(images('cuda'))  # constants go to the device once
        with Transfers() as transfers:
            maps = model(images('cuda'))
    assert transfers.names == []
    assert {(m.device.type, m.dtype) for m in maps} == {('cuda', torch.float32)}


@needs_torch(2, 4, 'autocast for a device by name')
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('wrapper', WRAPPERS)
@pytest.mark.parametrize('net', ['mmdet_swin', 'timm_vit'])
def test_forward_in_mixed_precision(net: str, wrapper: str, dtype: torch.dtype) -> None:
    model = build(net, wrapper, 1)
    with fake_device() as mode, cuda_autocast(dtype):
        move(model, mode, 'cuda')
        product = torch.empty(2, 2, device='cuda') @ torch.empty(2, 2, device='cuda')
        maps = model(images('cuda'))
    assert product.dtype == dtype  # the rules apply
    assert {m.device.type for m in maps} == {'cuda'}


@pytest.mark.parametrize('wrapper', WRAPPERS)
@pytest.mark.parametrize('net', ['mmdet_swin', 'timm_vit'])
def test_backward(net: str, wrapper: str) -> None:
    model = build(net, wrapper, 1)
    with fake_device() as mode:
        move(model, mode, 'cpu')  # autograd of fake tensors on a GPU needs the GPU
        sum(m.sum() for m in model(images('cpu'))).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)


def test_neck_and_head_of_few_bits_on_a_gpu() -> None:
    model = make(lambda: dict(TINY['timm_vit'])).train()
    train_quantized(model, layer_bits(model, PATTERNS))
    with fake_device() as mode:
        move(model, mode, 'cuda')
        for _ in range(2):
            quantize_beside_backbone(model)
            with Transfers() as transfers:
                out = model(images('cuda'))
    assert transfers.names == [] and out.device.type == 'cuda'
