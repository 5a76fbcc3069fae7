"""What a trunk in shards may be loaded from."""

from __future__ import annotations

import pytest
from mmengine.registry import MODELS
from tiny_backbones import tiny_config

from mmqadapter.backbones import frozen


def test_a_part_of_the_trunk_is_refused(monkeypatch) -> None:
    backbone = MODELS.build(
        dict(type='mmqadapter.FrozenBackbone', backbone=tiny_config('mmseg_vit'))
    )
    part = dict(list(backbone.state_dict().items())[:3])
    backbone.load_state_dict(dict(part), strict=False)
    monkeypatch.setattr(frozen, 'is_sharded', lambda model: True)
    with pytest.raises(ValueError, match='3 tensors of the trunk and lack others, such as .*all'):
        backbone.load_state_dict(dict(part), strict=False)
