"""Which differences of configs make another training, and which do not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from mmengine.config import Config

from mmqadapter.studies.sweep.config_equivalence import equivalent_measurement, equivalent_training
from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.training import SEED, Training, training_config

Change = Callable[[Config], Any]
OBSERVING: dict[str, Change] = {
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
    'visualizer': lambda c: c.update(
        visualizer=dict(type='SegLocalVisualizer'), vis_backends=[dict(type='LocalVisBackend')]
    ),
    'log settings': lambda c: c.update(
        log_level='ERROR', log_processor=dict(by_epoch=False, window_size=3)
    ),
}
DECISIVE: dict[str, Change] = {
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
    'optimizer': lambda c: c.optim_wrapper.optimizer.update(weight_decay=0.1),
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


def compare(config: Config, change: Change) -> tuple[bool, bool]:
    """Whether a changed config is equivalent, in both orders of the arguments."""
    changed = copy.deepcopy(config)
    change(changed)
    before, after = config.pretty_text, changed.pretty_text
    assert before != after
    return equivalent_training(before, after), equivalent_training(after, before)


@pytest.mark.parametrize('name', OBSERVING)
def test_observing_settings_are_left_out(config: Config, name: str) -> None:
    assert compare(config, OBSERVING[name]) == (True, True)


@pytest.mark.parametrize('name', DECISIVE)
def test_all_other_settings_are_compared(config: Config, name: str) -> None:
    assert compare(config, DECISIVE[name]) == (False, False)


def test_texts_with_code_have_to_be_equal() -> None:
    assert equivalent_training('a = f()', 'a = f()')
    assert not equivalent_training('a = f()', 'a = g()')
    assert not equivalent_training('a = f()', 'a = 1')


@pytest.mark.parametrize(
    'model',
    [
        "dict(backbone=dict(type='mmqadapter.FrozenBackbone', {}))",
        "dict(teacher=dict(backbone=dict(type='HighwayBackbone', {})))",
        "dict(parts=[dict(type='mmqadapter.backbones.AdaptedBackbone', {})])",
    ],
)
def test_trunk_options_of_0_1_0_are_those_of_today(model: str) -> None:
    old, new, other = (
        f'model = {model.format(options)}'
        for options in (
            "trunk_dtype='bfloat16'", "trunk=dict(dtype='bfloat16')", "trunk=dict(dtype='int8')"
        )
    )  # fmt: skip
    for equivalent in (equivalent_training, equivalent_measurement):
        assert equivalent(old, new)
        assert not equivalent(old, other)


def test_the_same_words_in_another_module_are_not_trunk_options() -> None:
    old, new = (
        f"model = dict(backbone=dict(type='mine.Net', {options}))"
        for options in ("trunk_dtype='bfloat16'", "trunk=dict(dtype='bfloat16')")
    )
    assert not equivalent_training(old, new)


def test_hooks_that_report_at_the_start_may_be_new() -> None:
    old, new, other = (
        f'custom_hooks = [dict(type={name!r}), dict(type="Own")]'
        for name in ('mmqadapter.LearningRatesHook', 'mmqadapter.MissingGradientHook', 'Other')
    )
    for equivalent in (equivalent_training, equivalent_measurement):
        assert equivalent(old, new)
        assert not equivalent(old, other)
