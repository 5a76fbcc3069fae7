"""Task files of one trunk, and a bank with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tasks import WRAPPERS, Build, Factory, Segmentor, train
from torch import nn

from mmqadapter import save_task
from mmqadapter.inference.bank import TaskBank


@pytest.fixture
def build(tiny_timm_vit: Factory) -> Build:
    """``build(wrapper, backbone, seed, classes)``: the same model each time."""

    def factory(
        wrapper: dict | None = None, backbone: dict | None = None, seed: int = 0, classes: int = 5
    ) -> nn.Module:
        torch.manual_seed(seed)
        config = wrapper or WRAPPERS['AdaptFormer, 1 bit']
        return Segmentor({**config, 'backbone': backbone or tiny_timm_vit()}, classes).eval()

    return factory


@pytest.fixture
def make(build: Build, tmp_path: Path) -> Callable[..., list[Path]]:
    """``make(wrapper, backbone)``: paths of two task files of the same trunk."""

    def two(wrapper: dict | None = None, backbone: dict | None = None) -> list[Path]:
        paths = [tmp_path / f'{name}.task.safetensors' for name in ('cracks', 'rust')]
        for seed, path in enumerate(paths):
            save_task(train(build(wrapper, backbone), seed), path, {'classes': [path.stem]})
        return paths

    return two


@pytest.fixture
def bank(build: Build, make: Callable) -> TaskBank:
    """A bank with the tasks ``cracks``, in use, and ``rust``."""
    bank = TaskBank(build())
    for name, path in zip(('cracks', 'rust'), make(), strict=True):
        bank.register(name, path)
    bank.use('cracks')
    return bank
