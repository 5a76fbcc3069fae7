"""Small models with a wrapped backbone and a head, and a few training steps for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS
from quantized_models import Net, make
from torch import Tensor, nn

from mmqadapter.taskfile.head_bits import layer_bits, train_quantized

ModelFactory = Callable[..., nn.Module]


class Segmentor(nn.Module):
    """Wrapped backbone with a head of a convolution, batch norm and a classifier."""

    def __init__(self, backbone: dict[str, Any], classes: int) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = nn.Sequential(nn.LazyConv2d(8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, classes, 1))
        self.eval()(images())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x)[-1])


def images() -> Tensor:
    """Return two images (2, 3, 64, 64), always the same."""
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def build(tiny_timm_vit: Callable[..., dict]) -> ModelFactory:
    """``build(**settings)``: the same model each time, except for what the settings change."""

    def factory(
        backbone: dict | None = None,
        adapter: dict | None = None,
        bits: int = 1,
        seed: int = 0,
        classes: int = 5,
        granularity: str = 'tensor',
        wrapper: dict | None = None,
    ) -> nn.Module:
        torch.manual_seed(seed)
        adapted = dict(
            type='mmqadapter.AdaptedBackbone',
            adapter=adapter or dict(type='AdaptFormer', width=4),
            quantizer=dict(type='GaussianQuantizer', bits=bits, granularity=granularity),
        )
        config = {**(wrapper or adapted), 'backbone': backbone or tiny_timm_vit()}
        return Segmentor(config, classes).eval()

    return factory


@pytest.fixture
def build_net(tiny_timm_vit: Callable[..., dict]) -> Callable[..., Net]:
    """``build_net(bits)``: the same net each time; with ``bits`` it is quantized for training."""

    def factory(bits: Any = None, **settings: Any) -> Net:
        model = make(tiny_timm_vit, **settings)
        if bits is not None:
            train_quantized(model, layer_bits(model, bits))
        return model

    return factory


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Warnings that saving writes to the log of the run."""
    messages: list[str] = []

    def note(message: str, logger: str, level: int) -> None:
        assert (logger, level) == ('current', logging.WARNING)
        messages.append(message)

    monkeypatch.setattr('mmqadapter.taskfile.head.print_log', note)
    return messages


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path for a task file."""
    return tmp_path / 'a.task.safetensors'


@pytest.fixture
def train() -> Callable[[nn.Module], nn.Module]:
    """``train(model)``: a few steps that change all that trains, then eval mode."""

    def steps(model: nn.Module) -> nn.Module:
        model.train()
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
        for _ in range(3):
            optimizer.zero_grad()
            (model(images()) - 1).square().mean().backward()
            optimizer.step()
        return model.eval()

    return steps


@pytest.fixture
def outputs() -> Callable[[nn.Module], Tensor]:
    """``outputs(model)``: its predictions for two fixed images, without gradients."""

    @torch.no_grad()
    def predict(model: nn.Module) -> Tensor:
        return model(images())

    return predict
