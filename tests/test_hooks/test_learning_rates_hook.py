"""The table at the start of a training says what trains, and at which rate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from torch import nn

from mmqadapter.hooks.learning_rates_hook import Row, _merged, _span, count_by_rate

KEYS = {'adapters': dict(lr_mult=2.0, decay_mult=0.0), 'head.bias': dict(decay_mult=0.0)}


def start(cfg: Any, train: Callable, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Cells of the rows that the hook logs."""
    cfg.custom_hooks = [dict(type='mmqadapter.LearningRatesHook')]
    texts: list[str] = []
    monkeypatch.setattr(
        logging.Logger, 'info', lambda self, text, *args, **kwargs: texts.append(str(text))
    )
    train(cfg)
    (table,) = [text for text in texts if 'Learning rates' in text]
    lines = [line for line in table.splitlines() if line.startswith('│')]
    return [[cell.strip() for cell in line.strip('│').split('│')] for line in lines]


def test_rows_of_parts_without_the_warm_up(tiny, train, monkeypatch) -> None:
    cfg = tiny()
    cfg.optim_wrapper.optimizer.weight_decay = 0.5
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys=KEYS)
    warm_up = dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=5)
    cfg.param_scheduler = [warm_up]
    assert start(cfg, train, monkeypatch) == [
        ['backbone.adapters', '0.2', '0', '2', '20'],
        ['head', '0.1', '0.5', '1', '4'],
        ['head', '0.1', '0', '1', '1'],
    ]


def test_scaled_rates_are_those_of_the_training(tiny, train, monkeypatch) -> None:
    cfg = tiny()
    cfg.auto_scale_lr = dict(enable=True, base_batch_size=4)
    rows = start(cfg, train, monkeypatch)
    assert [row[:2] for row in rows] == [['backbone.adapters', '0.05'], ['head', '0.05']]


def test_a_start_factor_of_almost_0_is_no_rate_of_0(tiny, train, tmp_path: Path) -> None:
    cfg = tiny()
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=1e-30, by_epoch=False, end=3)]
    train(cfg)


def test_a_rate_of_0_stops_before_the_first_step(tiny, train) -> None:
    cfg = tiny()
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys={'adapters': dict(lr_mult=0.0)})
    with pytest.raises(ValueError, match=r"custom_keys\['adapters'\] .*adapters\.weight' to 0"):
        train(cfg)


def test_many_rows_of_a_part_become_one() -> None:
    model = nn.ModuleDict({'backbone': nn.ModuleList(nn.Linear(1, 1) for _ in range(6))})
    model['head'] = nn.Linear(1, 1)
    layers = [dict(params=[*m.parameters()], lr=10.0**-n) for n, m in enumerate(model['backbone'])]
    layers.append(dict(params=[*model['head'].parameters()]))
    optimizer = torch.optim.SGD(layers, lr=1.0)
    tensors, parameters = count_by_rate(model, optimizer.param_groups)
    merged = list(_merged(tensors))
    assert [len(rows) for rows in merged] == [6, 1]
    assert _span(row.rate for row in merged[0]) == '1e-05 to 1'
    assert sum(parameters.values()) == 14 and parameters[Row('head', 1.0, 0)] == 2


def test_what_an_optimizer_does_not_use_is_a_dash() -> None:
    assert _span([None]) == '-' and _span([0.0]) == '0'


def test_several_optimizers(tiny, monkeypatch) -> None:
    from mmqadapter.hooks import LearningRatesHook

    model = MODELS.build(dict(type='TinyModel'))
    parts = dict(a=model.backbone.adapters, b=model.head)
    wrappers = {n: OptimWrapper(torch.optim.SGD(m.parameters(), lr=1.0)) for n, m in parts.items()}
    texts: list[str] = []
    runner: Any = type('Runner', (), {})()
    runner.model, runner.optim_wrapper = model, OptimWrapperDict(**wrappers)
    runner.logger = type('Logger', (), dict(info=texts.append))
    LearningRatesHook().before_train(runner)
    assert 'backbone.adapters' in texts[0] and 'head' in texts[0]
