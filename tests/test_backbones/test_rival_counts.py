"""What each rival trains in Swin-B and Swin-L, by count."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.registry import MODELS
from torch import nn

from mmqadapter.backbones.families import find_family
from mmqadapter.backbones.in_path import adapt_block
from mmqadapter.backbones.select import find_blocks, unused_parameters
from mmqadapter.backbones.trainable import trainable_parameters

pytestmark = pytest.mark.xdist_group('rival_counts')
SWIN = dict(type='mmdet.SwinTransformer', depths=(2, 2, 18, 2), window_size=7)
NETS = [
    dict(SWIN, embed_dims=128, num_heads=(4, 8, 16, 32)),
    dict(SWIN, embed_dims=192, num_heads=(6, 12, 24, 48)),
]
TRAIN = {
    'norm': (59_392, 89_088),
    'bitfit': (201_656, 302_484),
    r'\.bias$': (138_112, 207_168),  # BitFit without the relative position tables
    'partial-1': (12_601_632, 28_339_632),
}
ADAPTERS: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    'Adapter-64': (dict(type='SequentialAdapter', width=64), (3_107_328, 4_659_456)),
    'AdaptFormer-64': (dict(type='AdaptFormer', width=64, bias=True), (1_553_664, 2_329_728)),
    'Mona': (dict(type='Mona'), (3_667_456, 5_267_712)),
    'LoRand': (dict(type='LoRand'), (1_203_456, 1_799_040)),
    'LoRand of four branches': (dict(type='LoRand', branches=4), (2_370_816, 3_543_936)),
    # Tables print 3.03 M and 4.57 M, which no whole rank gives; 64 is the released rank.
    'LoRA on q and v': (dict(type='LoRA', rank=64), (3_080_192, 4_620_288)),
    'LoRA on the fused qkv': (dict(type='LoRA', rank=64, targets='qkv'), (3_080_192, 4_620_288)),
}


@pytest.fixture(scope='module', params=[0, 1], ids=['swin-b', 'swin-l'])
def swin(request: pytest.FixtureRequest) -> tuple[int, nn.Module]:
    """Column of the tables above, and the net; its weights are whatever was in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Linear, 'reset_parameters', lambda self: None)  # saves seconds
        return request.param, MODELS.build(NETS[request.param])


@pytest.mark.parametrize('train', TRAIN)
def test_parameters_of_the_trunk(swin: tuple[int, nn.Module], train: str) -> None:
    column, net = swin
    family = find_family(net)
    idle = unused_parameters(net, family)
    chosen = trainable_parameters(net, list(find_blocks(net, family)), idle, [train])
    assert sum(p.numel() for p in chosen.values()) == TRAIN[train][column]


@pytest.mark.parametrize('rival', ADAPTERS)
def test_adapters_in_the_path(swin: tuple[int, nn.Module], rival: str) -> None:
    column, net = swin
    adapter, counts = ADAPTERS[rival]
    family = find_family(net)
    blocks = find_blocks(net, family).values()
    adapters = nn.ModuleList(adapt_block(net, block, family, adapter, None) for block in blocks)
    assert sum(p.numel() for p in adapters.parameters()) == counts[column]
