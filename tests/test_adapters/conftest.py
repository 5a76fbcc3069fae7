"""Configs of all adapters, and one function to call any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from mmqadapter.adapters import Adapter, LoRA

CHANNELS = 16
ADAPTERS: dict[str, dict[str, Any]] = {
    'AdaptFormer': dict(type='AdaptFormer', width=4),
    'AdaptFormer with biases': dict(type='AdaptFormer', width=4, bias=True),
    'SequentialAdapter': dict(type='SequentialAdapter', width=4),
    'ConvAdapter': dict(type='ConvAdapter', width=4),
    'ConvAdapter of two sizes': dict(type='ConvAdapter', width=4, kernel_size=(3, 5), bias=False),
    'Mona': dict(type='Mona', width=4),
    'LoRA': dict(type='LoRA', rank=4),
    'LoRA fused': dict(type='LoRA', rank=4, targets='qkv'),
}


@pytest.fixture(params=list(ADAPTERS))
def adapter_config(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Config of an adapter; a test runs once per adapter."""
    return dict(ADAPTERS[request.param])


def change(adapter: Adapter, x: Tensor) -> Tensor:
    """Return what an adapter adds, given tokens (B, 9, CHANNELS)."""
    if isinstance(adapter, LoRA):
        return adapter(x, x.new_zeros(*x.shape[:-1], 3 * CHANNELS))
    return adapter(x, (3, 3)) if adapter.spatial else adapter(x)


@pytest.fixture(name='change')
def change_fixture() -> Callable[[Adapter, Tensor], Tensor]:
    """Function ``change(adapter, x)``: what an adapter adds, given tokens (B, 9, 16)."""
    return change
