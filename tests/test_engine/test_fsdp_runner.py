"""Settings that do not work with a model in shards are refused."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmqadapter.engine.fsdp_runner import check_strategy


def config(**changes: object) -> Config:
    strategy = dict(type='FSDPStrategy', state_dict_cfg='full')
    cfg = dict(
        runner_type='FlexibleRunner',
        strategy=strategy,
        launcher='pytorch',
        optim_wrapper=dict(clip_grad=dict(type='value', clip_value=1.0)),
        custom_hooks=[dict(type='mmqadapter.ExactResumeHook')],
    )
    return Config({**cfg, **changes})


def test_settings_that_work_with_shards_pass() -> None:
    check_strategy(config())
    by_hand = dict(type='FSDPStrategy', state_dict_cfg=dict(state_dict_type='FULL_STATE_DICT'))
    check_strategy(config(strategy=by_hand))


@pytest.mark.parametrize('settings', [dict(runner_type='Runner'), dict(strategy=None)])
def test_without_shards_everything_passes(settings: dict) -> None:
    hooks = [dict(type='EMAHook')]
    check_strategy(config(custom_hooks=hooks, launcher='none', **settings))


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(launcher='none'), 'torchrun --nproc_per_node'),
        (dict(strategy=dict(type='FSDPStrategy')), "state_dict_cfg='local' writes shards"),
        (
            dict(strategy=dict(
                type='FSDPStrategy', state_dict_cfg='full',
                model_wrapper=dict(use_orig_params=False))),
            'use_orig_params=False',
        ),
        (dict(optim_wrapper=dict(clip_grad=dict(max_norm=1.0))), 'clip_grad=None'),
        (dict(custom_hooks=[dict(type='EMAHook')]), 'EMAHook needs the whole model'),
        (dict(custom_hooks=[dict(type='mmqadapter.QuantizeTaskHook')]), 'QuantizeTaskHook needs'),
    ],
)  # fmt: skip
def test_the_obstacle_and_the_remedy_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"strategy type='FSDPStrategy': .*{message}"):
        check_strategy(config(**changes))
