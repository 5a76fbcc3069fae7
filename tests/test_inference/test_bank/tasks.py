"""Small models with tasks, for tests of models that share a trunk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmqadapter import load_task

Factory = Callable[..., dict]
Build = Callable[..., nn.Module]
ONE_BIT = dict(type='GaussianQuantizer', bits=1)
ADAPTED = dict(type='mmqadapter.AdaptedBackbone', adapter=dict(type='AdaptFormer', width=4))
HIGHWAY = dict(type='mmqadapter.HighwayBackbone', adapter=dict(type='DualLowRankAdapter', rank=2))
LORA = {**ADAPTED, 'adapter': dict(type='LoRA', rank=2, scale='learned')}
FROZEN = dict(type='mmqadapter.FrozenBackbone')
WRAPPERS: dict[str, dict[str, Any]] = {
    'AdaptFormer, 1 bit': {**ADAPTED, 'quantizer': ONE_BIT},
    'AdaptFormer, float': ADAPTED,
    'LoRA, 2 bits': {**LORA, 'quantizer': dict(ONE_BIT, bits=2)},
    'highway, 1 bit': {**HIGHWAY, 'quantizer': ONE_BIT},
    'highway, float, also in path': {**HIGHWAY, 'inpath_blocks': 1},
    'norms of the trunk': {**FROZEN, 'train': 'norm'},
    'a block of the trunk': {**FROZEN, 'train': 'partial-1'},
    'frozen': FROZEN,
}


class Segmentor(nn.Module):
    """Wrapped backbone with a head that has batch norm and a tied weight."""

    def __init__(self, backbone: dict[str, Any], classes: int) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = nn.Sequential(
            nn.LazyConv2d(8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, classes, 1)
        )
        self.again = nn.Conv2d(8, 8, 1)
        self.eval()(images())
        self.again.weight = self.head[2].weight

    def forward(self, x: Tensor) -> Tensor:
        inner = self.head[:3](self.backbone(x)[-1])
        return self.head[3](self.again(inner))


def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def outputs(model: nn.Module) -> Tensor:
    return model(images())


def train(model: nn.Module, seed: int) -> nn.Module:
    """Train for two steps, towards another target for each seed; return in eval mode."""
    torch.manual_seed(seed)
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
    target = torch.randn(2, 5, 1, 1)
    for _ in range(2):
        optimizer.zero_grad()
        (model(images()) - target).square().mean().backward()
        optimizer.step()
    return model.eval()


def alone(build: Build, path: Path, *args: Any) -> Tensor:
    """Return the predictions of a new model with this task alone."""
    model = build(*args)
    load_task(model, path)
    return outputs(model)
