"""What makes two configs of a sweep the same training, and what does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from mmengine.config import Config

from mmqadapter.studies.sweep.config_equivalence import equivalent_training
from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.training import SEED, Training, training_config

PendingUpdate = Callable[[Config], Any]
WATCHES: dict[str, PendingUpdate] = {
    'costs logged': lambda c: c.custom_hooks.append(dict(type='mmqadapter.EfficiencyHook')),
    'costs logged first': lambda c: c.custom_hooks.insert(
        0, dict(type='mmqadapter.EfficiencyHook', interval=5)
    ),
    'no summary': lambda c: c.custom_hooks.pop(),
    'logger': lambda c: c.default_hooks.update(logger=dict(type='LoggerHook', interval=7)),
    'timer': lambda c: c.default_hooks.update(timer=dict(type='mmengine.IterTimerHook')),
    'pictures': lambda c: c.default_hooks.update(
        visualization=dict(type='SegVisualizationHook', draw=True)
    ),
    'visualiser': lambda c: c.update(
        visualizer=dict(type='SegLocalVisualizer'), vis_backends=[dict(type='LocalVisBackend')]
    ),
    'log settings': lambda c: c.update(
        log_level='ERROR', log_processor=dict(by_epoch=False, window_size=3)
    ),
}
DECIDES: dict[str, PendingUpdate] = {
    'averaging': lambda c: c.custom_hooks.append(dict(type='EMAHook')),
    'few bits': lambda c: c.custom_hooks.append(dict(type='mmqadapter.QuantizeTaskHook', bits=4)),
    'no exact resume': lambda c: c.custom_hooks.pop(0),
    'a check': lambda c: c.custom_hooks.append(dict(type='mmqadapter.FiniteLossHook')),
    'an unknown hook': lambda c: c.custom_hooks.append(dict(type='mine.EfficiencyHook')),
    'an unknown hook in the place of a known one': lambda c: c.default_hooks.update(
        logger=dict(type='MyLoggerHook')
    ),
    'bits of the task file': lambda c: c.default_hooks.checkpoint.update(head_bits=16),
    'model': lambda c: c.model.update(neck=dict(type='FPN')),
    'data': lambda c: c.val_dataloader.update(batch_size=2),
    'optimiser': lambda c: c.optim_wrapper.optimizer.update(weight_decay=0.1),
    'schedule': lambda c: c.param_scheduler.pop(),
    'seed': lambda c: c.randomness.update(seed=2),
    'length': lambda c: c.train_cfg.update(max_iters=21),
    'start': lambda c: c.update(load_from='start.pth'),
    'an unknown setting': lambda c: c.update(log_everything=True),
    'imports': lambda c: c.custom_imports.imports.append('mine'),
}


@pytest.fixture
def config(make_sweep) -> Config:
    return training_config(make_sweep(), Training(SEED, 'adaptformer@1', 1, Length(20), 0.1, 0.01))


def compare(config: Config, change: PendingUpdate) -> tuple[bool, bool]:
    """Whether a config that something was added to is the same, from either side."""
    other = copy.deepcopy(config)
    change(other)
    one, two = config.pretty_text, other.pretty_text
    assert one != two
    return equivalent_training(one, two), equivalent_training(two, one)


@pytest.mark.parametrize('name', WATCHES)
def test_what_only_watches_is_left_out(config: Config, name: str) -> None:
    assert compare(config, WATCHES[name]) == (True, True)


@pytest.mark.parametrize('name', DECIDES)
def test_all_else_counts(config: Config, name: str) -> None:
    assert compare(config, DECIDES[name]) == (False, False)


def test_what_is_no_plain_text_has_to_be_equal() -> None:
    assert equivalent_training('a = f()', 'a = f()')
    assert not equivalent_training('a = f()', 'a = g()')
    assert not equivalent_training('a = f()', 'a = 1')
