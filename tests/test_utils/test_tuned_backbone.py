"""Finding the wrapper of a frozen trunk computes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from mmqadapter.backbones import FrozenBackbone, frozen
from mmqadapter.utils.accounting import part_counts
from mmqadapter.utils.tuned_backbone import tuned_backbone

Factory = Callable[..., dict]


def test_a_type_test_never_hashes(tiny_timm_vit: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    net = FrozenBackbone(tiny_timm_vit())
    net.load_state_dict(net.state_dict())  # the fingerprint is to be taken anew
    hashed: list[int] = []
    monkeypatch.setattr(frozen, 'fingerprint', lambda weights: hashed.append(len(weights)) or 'x')
    model = nn.ModuleDict({'backbone': net, 'head': nn.Linear(2, 2)})
    assert tuned_backbone(model) is net
    part_counts(model)
    assert not hashed
    assert net.fingerprint == 'x' and hashed


def test_a_model_that_only_looks_like_one_is_none() -> None:
    model = nn.Module()
    model.trunk = model.adapters = nn.Linear(2, 2)
    model.fingerprint, model.tuning_config, model.trainable_names = 'x', {}, frozenset()
    assert tuned_backbone(model) is None
