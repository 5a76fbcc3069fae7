"""The modules that FSDP gives a unit of their own."""

from __future__ import annotations

import pytest
from mmengine.registry import FUNCTIONS, MODELS
from tiny_backbones import TINY, tiny_config
from torch import nn

from mmqadapter.backbones import frozen_blocks
from mmqadapter.backbones.select import find_blocks


def chosen(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if frozen_blocks(module, False, 0)]


@pytest.mark.parametrize('name', TINY)
def test_it_chooses_the_blocks_of_every_family(name: str) -> None:
    config = dict(type='mmqadapter.FrozenBackbone', backbone=tiny_config(name))
    backbone = MODELS.build(config)
    blocks = list(find_blocks(backbone.trunk, backbone.family).values())
    assert chosen(backbone)[: len(blocks)] == blocks  # one net computes stages behind its maps
    assert len(chosen(backbone)) == len(blocks) or name == 'mmdet_pvt_v2'


def test_a_block_that_trains_stays_with_what_trains() -> None:
    config = dict(type='mmqadapter.FrozenBackbone', train='partial-1',
                  backbone=tiny_config('mmseg_vit'))  # fmt: skip
    backbone = MODELS.build(config)
    assert len(chosen(backbone)) == 2 < len(find_blocks(backbone.trunk, backbone.family))


def test_configs_find_it_by_name() -> None:
    assert FUNCTIONS.get('mmqadapter.frozen_blocks') is frozen_blocks
    assert frozen_blocks(nn.ModuleList(), True, 0)
