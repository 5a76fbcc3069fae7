"""Sites: each adapter enters each block where its paper says, and leaves nothing behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from nets import (
    ADAPTERS,
    WHOLE,
    backward,
    bare,
    block_by_hand,
    images,
    images_for,
    kind,
    merge_lora,
    trained,
)
from torch import Tensor, nn

from mmqadapter.backbones.select import find_blocks

Factory = Callable[..., dict]
BOTTLENECKS = pytest.mark.parametrize(
    'adapter', ['adaptformer', 'adaptformer-normed', 'sequential', 'conv', 'mona']
)
LORAS = pytest.mark.parametrize('adapter', ['lora', 'lora-qkv'])
EVERY_ADAPTER = pytest.mark.parametrize('adapter', ADAPTERS)


def traced(wrapped: nn.Module, x: Tensor) -> Iterator[tuple[str, tuple, dict, Tensor]]:
    """Name, arguments and output of each block in one forward."""
    trace: list = []

    def remember(name: str, module: nn.Module, *call: Any) -> None:
        trace.append((name, *call))

    for name, block in find_blocks(wrapped.trunk, wrapped.family).items():
        block.register_forward_hook(partial(remember, name), with_kwargs=True)
    wrapped(x)
    return iter(trace)


def hooks(module: nn.Module) -> Iterator[Any]:
    """Hooks on ``module`` and all below it."""
    for child in module.modules():
        yield from child._forward_pre_hooks.values()
        yield from child._forward_hooks.values()


def assert_nothing_left(wrapped: nn.Module) -> None:
    for hook in hooks(wrapped.trunk):
        owner = getattr(getattr(hook.__self__, 'hook', None), '__self__', hook.__self__)
        assert not any(isinstance(value, Tensor) for value in vars(owner).values())
    for module in wrapped.trunk.modules():
        assert not any(isinstance(value, Tensor) for value in vars(module).values())


@BOTTLENECKS
@pytest.mark.parametrize('size', [(64, 64), (70, 93)])
@torch.no_grad()
def test_equals_a_block_written_by_hand(
    row_backbone: Factory, adapter: str, size: tuple[int, int]
) -> None:
    net, wrapped = bare(row_backbone()), trained(row_backbone(), adapter).eval()
    x = images_for(row_backbone(), *size)
    blocks, grids = 0, [m.shape[2:] for m in net(x)]
    for name, args, kwargs, out in traced(wrapped, x):
        adapters = wrapped.adapters[name.replace('.', '_')]
        block = net.get_submodule(name)
        fitting = [g for g in grids if g.numel() <= args[0].shape[1]]
        places = max(fitting, key=math.prod, default=grids[-1])
        expected = block_by_hand(block, adapters, places, *args, **kwargs)
        # Sums over the channels and places under a convolution are rounded in another order.
        bounds = dict(rtol=1e-4, atol=1e-4) if kind(block) in WHOLE else {}
        torch.testing.assert_close(out, expected, **bounds)
        unadapted = block_by_hand(block, nn.ModuleDict(), places, *args, **kwargs)
        assert (out - unadapted).abs().max() > 1e-2
        blocks += 1
    assert blocks == len(wrapped.adapters)


@LORAS
@torch.no_grad()
def test_lora_equals_merged_weights(row_backbone: Factory, adapter: str) -> None:
    net, wrapped = bare(row_backbone()), trained(row_backbone(), adapter).eval()
    before = net(images())
    merge_lora(net, wrapped)
    for out, expected, unmerged in zip(wrapped(images()), net(images()), before, strict=True):
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
        assert (out - unmerged).abs().max() > 1e-2


def test_sequential_adapters_of_a_block_are_two(tiny_backbone: Factory) -> None:
    wrapped = trained(tiny_backbone(), 'sequential')
    for adapters in wrapped.adapters.values():
        if any(net in str(tiny_backbone()) for net in ('convnext', 'ConvNeXt', 'ResNet')):
            assert list(adapters) in (['mlp_branch'], ['output'])
        else:
            assert adapters['attn_branch'] is not adapters['mlp_branch']


@EVERY_ADAPTER
def test_hooks_are_bound_methods(rotating_backbone: Factory, adapter: str) -> None:
    """Functions would stay tied to the original when the net is copied."""
    wrapped = trained(rotating_backbone(), adapter)
    copy = deepcopy(wrapped)
    copied = {id(module) for module in copy.adapters.modules()}
    owners = [hook.__self__ for hook in hooks(copy.trunk)]
    # A hook on one of several calls of a module holds that of the site.
    owners = [getattr(getattr(owner, 'hook', None), '__self__', owner) for owner in owners]
    found = [owner.adapter for owner in owners if hasattr(owner, 'adapter')]
    for _ in range(2):  # a spatial one is wrapped, and one for maps as well
        found = [getattr(called, 'adapter', called) for called in found]
    assert found
    grids = {id(owner) for owner in owners if not hasattr(owner, 'adapter')}
    assert grids.isdisjoint(id(hook.__self__) for hook in hooks(wrapped.trunk))
    assert all(id(module) in copied for module in found)


@EVERY_ADAPTER
@pytest.mark.filterwarnings('ignore:.*use_reentrant', 'ignore:None of the inputs')
def test_nothing_is_left_after_a_step(rotating_backbone: Factory, adapter: str) -> None:
    wrapped = trained(rotating_backbone(with_cp=True), adapter)
    backward(wrapped)
    assert_nothing_left(wrapped)


@EVERY_ADAPTER
def test_nothing_is_left_after_an_error(
    rotating_backbone: Factory, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever part of a block fails: memory is free again, and the net can be copied."""
    wrapped = trained(rotating_backbone(), adapter)
    block = list(find_blocks(wrapped.trunk, wrapped.family).values())[-1]
    parts = [m for m in [*block.modules(), *wrapped.adapters.modules()] if not len(m._modules)]
    failures = 0
    for part in parts:
        with monkeypatch.context() as patch:
            patch.setattr(part, 'forward', _fail)
            try:
                wrapped(images())
            except MemoryError:
                failures += 1
        assert_nothing_left(wrapped)
    assert failures > 5
    deepcopy(wrapped)


def _fail(*args: Any, **kwargs: Any) -> None:
    raise MemoryError
