"""Tiny nets with a highway, and what the tests of it share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nets import bare, images, randomize
from tiny_backbones import downsample
from torch import Tensor, nn

from mmqadapter.backbones import HighwayBackbone
from mmqadapter.highway import InheritedNeck
from mmqadapter.utils.accounting import saved_for_backward

DUAL = dict(type='DualLowRankAdapter', branches=2, rank=2)
CONV = dict(type='ConvAdapter', width=4, kernel_size=(3, 5))
TAPS = pytest.mark.parametrize('taps', ['branch', 'stream'])
IN_PATH = pytest.mark.parametrize('inpath_blocks', [0, 2])
ADAPTERS = pytest.mark.parametrize(
    'adapter',
    [
        DUAL,
        CONV,
        dict(type='SequentialAdapter', width=4),
        dict(type='AdaptFormer', width=4, dropout=0),
    ],
    ids=lambda cfg: cfg['type'],
)


def wrap(cfg: dict, adapter: dict = DUAL, **kwargs: Any) -> HighwayBackbone:
    """``bare(cfg)`` with a highway as it starts."""
    torch.manual_seed(0)
    wrapped = HighwayBackbone(cfg, adapter, **{'downsample': downsample(cfg), **kwargs})
    wrapped.load_state_dict(bare(cfg).state_dict(), strict=False)
    return wrapped


def trained(cfg: dict, adapter: dict = DUAL, **kwargs: Any) -> HighwayBackbone:
    """``bare(cfg)`` with a highway that has moved."""
    wrapped = wrap(cfg, adapter, **kwargs)
    randomize(wrapped.adapters)
    return wrapped


def runs_behind(wrapped: HighwayBackbone) -> set[nn.Module]:
    """Modules of the trunk that make its maps of the joined stream, with gradients."""
    inherited = [n._inherited[0] for n in wrapped.highway.norms if isinstance(n, InheritedNeck)]
    return {module for net in inherited for module in net.modules()}


def own(gradients: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Those of the adapters; asserts that there are no others."""
    found = {name: g for name, g in gradients.items() if g is not None}
    assert found.keys() == {name for name in gradients if name.startswith('adapters.')}
    return found


def saved_bytes(net: nn.Module, size: tuple[int, int] = (64, 64)) -> int:
    with saved_for_backward(net) as counter:
        net(images(*size))
    return counter.total
