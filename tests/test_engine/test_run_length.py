from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmqadapter.engine.run_length import EPOCHS, ITERATIONS, cut_schedule, set_run_length

ROOT = Path(__file__).parents[2]
INFINITE = 10**9


def by_iterations(**changes: Any) -> Config:
    return Config(
        dict(
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=2000, val_interval=200),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=False, begin=0, end=200),
                dict(type='CosineAnnealingLR', by_epoch=False, begin=200, end=2000, T_max=1800),
            ],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=20),
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=200),
            ),
            **changes,
        )
    )


def test_iterations_shorten_schedule_and_intervals() -> None:
    cfg = by_iterations()
    set_run_length(cfg, 100, ITERATIONS)
    assert dict(cfg.train_cfg) == dict(type='IterBasedTrainLoop', max_iters=100, val_interval=10)
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.begin, warm_up.end) == (0, 10)
    assert (cosine.begin, cosine.end, cosine.T_max) == (10, 100, 90)
    assert (cfg.default_hooks.logger.interval, cfg.default_hooks.checkpoint.interval) == (1, 10)
    assert cut_schedule(cfg) is None


def test_a_warm_up_shorter_than_a_step_is_left_out() -> None:
    cfg = by_iterations()
    set_run_length(cfg, 4, ITERATIONS)
    (cosine,) = cfg.param_scheduler
    assert (cosine.begin, cosine.end) == (0, 4)
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 1


def test_epochs_scale_milestones_and_the_warm_up_in_iterations() -> None:
    cfg = Config(
        dict(
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=36, dynamic_intervals=[(30, 2)]),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=False, begin=0, end=1000),
                dict(type='MultiStepLR', begin=0, end=36, milestones=[27, 33]),
                dict(type='ExponentialLR', gamma=0.9, end=INFINITE),
            ],
            custom_hooks=[dict(type='PipelineSwitchHook', switch_epoch=30)],
        )
    )
    set_run_length(cfg, 12, EPOCHS)
    assert cfg.train_cfg.max_epochs == 12 and cfg.train_cfg.dynamic_intervals == [(10, 1)]
    warm_up, steps, endless = cfg.param_scheduler
    assert (warm_up.end, steps.end, steps.milestones) == (333, 12, [9, 11])
    assert endless.end == INFINITE and cfg.custom_hooks[0].switch_epoch == 10


def test_a_longer_training_is_stretched() -> None:
    cfg = by_iterations()
    set_run_length(cfg, 4000, ITERATIONS)
    assert cfg.param_scheduler[1].end == 4000 and cfg.train_cfg.val_interval == 400


def test_lengths_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match='--max-iters=0 is invalid: expected a number'):
        set_run_length(by_iterations(), 0, ITERATIONS)
    with pytest.raises(ValueError, match='--max-epochs=3 does not fit.*use --max-iters'):
        set_run_length(by_iterations(), 3, EPOCHS)


def test_a_schedule_that_is_cut_off_is_named() -> None:
    cfg = by_iterations()
    assert cut_schedule(cfg) is None
    cfg.train_cfg.max_iters = 20
    warning = cut_schedule(cfg)
    assert warning is not None and 'ends at 2000: the rate does not come down' in warning
    assert warning.startswith('train_cfg.max_iters=20 ends') and '--max-iters takes' in warning
    assert cut_schedule(Config(dict(train_cfg=cfg.train_cfg))) is None


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'configs').glob('*.py')), ids=lambda path: path.stem
)
def test_every_shipped_config_can_be_shortened(path: Path) -> None:
    cfg = Config.fromfile(path)
    assert cut_schedule(cfg) is None
    epochs = bool(cfg.train_cfg.get('max_epochs'))
    set_run_length(cfg, 3, EPOCHS if epochs else ITERATIONS)
    assert cut_schedule(cfg) is None
    schedule = cfg.param_scheduler
    for part in [schedule] if isinstance(schedule, dict) else schedule:
        assert part.get('begin', 0) < part.get('end', INFINITE)
