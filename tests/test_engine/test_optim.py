"""The optimizer holds what trains, and equal settings share a group."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from mmengine.optim import build_optim_wrapper
from torch import nn

import mmqadapter  # noqa: F401  (registers the constructor)
from mmqadapter.engine import optim


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(2, 2).requires_grad_(False)
        self.adapters = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        self.head = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))


def groups(**settings: Any) -> list[dict]:
    cfg = dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5),
        constructor='mmqadapter.TrainableOptimWrapperConstructor',
        **settings,
    )
    return build_optim_wrapper(Net(), cfg).optimizer.param_groups


@pytest.mark.parametrize('settings', [{}, {'paramwise_cfg': {'norm_decay_mult': 0.0}}])
def test_frozen_parameters_never_enter(settings: dict, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = [p for group in groups(**settings) for p in group['params']]
    assert len(found) == 8
    assert all(p.requires_grad for p in found)
    assert 'skipped' not in caplog.text


def test_equal_settings_share_a_group() -> None:
    keys = {'adapters': {'lr_mult': 2.0}}
    found = groups(paramwise_cfg={'norm_decay_mult': 0.0, 'custom_keys': keys})
    assert {(g['lr'], g['weight_decay'], len(g['params'])) for g in found} == {
        (0.2, 0.5, 4),
        (0.1, 0.5, 2),
        (0.1, 0.0, 2),
    }


@pytest.mark.parametrize(
    ('key', 'said'),
    [
        ('adpters', "custom_keys['adpters'] fits no parameter; is it 'adapters'?"),
        ('adapter.0', "custom_keys['adapter.0'] fits no parameter; is it 'adapters.0'?"),
        ('adapters', ''),
        ('absolute_pos_embed', ''),  # of an inherited config, for another net
    ],
)
def test_a_mistyped_key_is_named(key: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(optim, 'print_log', lambda text, **kwargs: logged.append(text))
    groups(paramwise_cfg={'custom_keys': {key: {'lr_mult': 2.0}}})
    assert logged == [f'paramwise_cfg.{said}'] * bool(said)
