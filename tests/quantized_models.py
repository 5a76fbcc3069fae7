"""A small model with every kind of layer of necks and heads, and functions to train it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

PATTERNS = {'neck.*': 2, 'head.*': 4, 'head.classify': 8}
BITS_OF = {'neck.up': 2, 'head.reduce': 4, 'head.bottleneck': 4, 'head.classify': 8}
FEW = pytest.mark.parametrize('bits', [1, 2, 4, 8, PATTERNS], ids=str)
ADAPTED = dict(
    type='mmqadapter.AdaptedBackbone',
    adapter=dict(type='AdaptFormer', width=4),
    quantizer=dict(type='GaussianQuantizer', bits=1),
)


class Head(nn.Module):
    """Head: convolution, batch norm, a raw parameter, a bias-free convolution, a classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.level = nn.Parameter(torch.randn(8, 1, 1))
        self.bottleneck = nn.Conv2d(8, 8, 1, bias=False)
        self.classify = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bottleneck(self.norm(self.reduce(x)).relu() + self.level)
        return self.classify(x.flatten(2).transpose(1, 2))


class Net(nn.Module):
    """Wrapped backbone, a transposed convolution as neck, and a head."""

    def __init__(self, backbone: dict[str, Any], classes: int = 5) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.neck = nn.ModuleDict({'up': nn.ConvTranspose2d(16, 8, 2, 2)})
        self.head = Head(classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.neck['up'](self.backbone(x)[-1]))


def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))


def make(tiny: Callable[..., dict], classes: int = 5, wrapper: dict | None = None) -> Net:
    """Return the same model each time."""
    torch.manual_seed(0)
    return Net({**(wrapper or ADAPTED), 'backbone': tiny()}, classes).eval()


def train(model: nn.Module, rate: float = 0.02) -> nn.Module:
    """Train for a few steps; return in eval mode."""
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    for _ in range(3):
        optimizer.zero_grad()
        (model(images()) - 1).square().mean().backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def out(model: nn.Module) -> Tensor:
    return model.eval()(images())
