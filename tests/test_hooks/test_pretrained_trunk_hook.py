"""A random trunk is refused before training unless it is intended."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from mmengine.registry import MODELS

from mmqadapter.hooks import PretrainedTrunkHook


@pytest.fixture
def runner() -> SimpleNamespace:
    """All of a runner that the hook reads; the trunk has no pretrained weights."""
    model = MODELS.build(dict(type='TinyModel'))
    model.backbone.pretrained = False
    return SimpleNamespace(model=model)


def test_a_random_trunk_is_refused(runner: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r'trunk Sequential is random: .*allow_random=True\)'):
        PretrainedTrunkHook().before_train(runner)


def test_a_pretrained_or_intended_trunk_passes(runner: SimpleNamespace) -> None:
    PretrainedTrunkHook(allow_random=True).before_train(runner)
    runner.model.backbone.pretrained = True
    PretrainedTrunkHook().before_train(runner)


def test_a_model_without_a_frozen_trunk_passes() -> None:
    model = MODELS.build(dict(type='TinyModel', fingerprint=None))
    PretrainedTrunkHook().before_train(SimpleNamespace(model=model))
