"""Accelerated trunks are pickled and copied like any module."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from tiny_backbones import TINY, tiny_config
from torch import nn

from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone, HighwayBackbone
from mmqadapter.backbones.acceleration.class_swap import FastForward, specialize

IMAGES = torch.rand(2, 3, 64, 64)
FAST = dict(attention='fused', mlp='auto', prepacked=True)
OPTIONS = pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int8'])


class Doubled(FastForward):
    """Twice what the stock module computes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Negated(FastForward):
    """The negative of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -super().forward(x)


def saved_and_loaded(module: nn.Module) -> nn.Module:
    """``torch.save`` and ``torch.load`` of a whole module."""
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_classes_put_ahead_one_after_another_come_back_in_that_order() -> None:
    layer, x = nn.Linear(3, 3), torch.randn(2, 3)
    stock = layer(x)
    specialize(layer, Doubled)
    specialize(layer, Negated)
    copies = [pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), copy.copy(layer)]
    for other in [layer, *copies]:
        assert type(other) is type(layer) and isinstance(other, nn.Linear)
        torch.testing.assert_close(other(x), -2 * stock)


@OPTIONS
@pytest.mark.parametrize('family', list(TINY))
@torch.no_grad()
def test_an_accelerated_trunk_is_saved_whole(family: str, dtype: str) -> None:
    net = FrozenBackbone(tiny_config(family), trunk=dict(FAST, dtype=dtype))
    expected = net(IMAGES)  # fills caches, which are not saved
    for other in (saved_and_loaded(net), copy.deepcopy(net)):
        for found, wanted in zip(other(IMAGES), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize('wrapper', [AdaptedBackbone, HighwayBackbone])
@torch.no_grad()
def test_wrappers_with_float_adapters_are_saved_whole(wrapper: type) -> None:
    adapter = dict(type='ConvAdapter', width=2)
    net = wrapper(tiny_config('mmdet_swin'), adapter, trunk=FAST)
    torch.testing.assert_close(saved_and_loaded(net)(IMAGES), net(IMAGES), rtol=0, atol=0)


def test_quantized_adapters_say_why_they_are_not() -> None:
    quantizer = dict(type='GaussianQuantizer', bits=1)
    net = AdaptedBackbone(tiny_config('timm_vit'), dict(type='LoRA', rank=2), quantizer, trunk=FAST)
    with pytest.raises(RuntimeError, match=r'parametrized modules is only supported .*state_dict'):
        saved_and_loaded(net)
