from __future__ import annotations

from dataclasses import replace

import pytest
from mmengine.config import Config

from mmqadapter.studies.sweep.length import EPOCHS, Length
from mmqadapter.studies.sweep.training import SEED, TIME, TUNE, Training, training_config

ONE = Training(SEED, 'adaptformer@1', 1, Length(20), 0.1, 0.01)


def test_a_config_is_complete(make_sweep, tmp_path) -> None:
    (tmp_path / 'full.py').write_text(training_config(make_sweep(), ONE).pretty_text)
    cfg = Config.fromfile(tmp_path / 'full.py')
    assert cfg.randomness.seed == 1
    assert cfg.train_cfg.max_iters == cfg.train_cfg.val_interval == 20
    assert [part.end for part in cfg.param_scheduler] == [5, 20]
    assert cfg.optim_wrapper.optimizer.lr == 0.1
    keys = cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert keys.adapters.lr_mult == pytest.approx(0.1) and keys.norm.decay_mult == 0
    assert cfg.model.backbone.quantizer.bits == 1
    assert cfg.model.backbone.backbone.frozen_stages == -1  # full trains all of it
    assert cfg.default_hooks.checkpoint.type == 'mmqadapter.TaskCheckpointHook'
    assert 'mmqadapter.EfficiencyHook' in [hook.type for hook in cfg.custom_hooks]
    assert cfg.custom_imports.imports == ['mmqadapter']


def test_a_rate_is_that_of_the_methods_group_alone(make_sweep) -> None:
    sweep = make_sweep()
    full = training_config(sweep, replace(ONE, method='full')).optim_wrapper.paramwise_cfg
    assert full.custom_keys.keys() == {'norm', 'backbone'}
    frozen = training_config(sweep, replace(ONE, method='frozen', rate=None))
    assert frozen.optim_wrapper.paramwise_cfg.custom_keys.keys() == {'norm'}


def test_a_timed_training_validates_nothing_and_keeps_the_schedule(make_sweep) -> None:
    cfg = training_config(make_sweep(), replace(ONE, purpose=TIME, length=Length(4)))
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert cfg.train_cfg.max_iters == 4
    assert cfg.param_scheduler[1].end == 20


def test_a_config_that_counts_epochs(make_sweep) -> None:
    epochs = {'type': 'EpochBasedTrainLoop', 'max_epochs': 12, 'val_interval': 1, '_delete_': True}
    parts = [
        {'type': 'LinearLR', 'by_epoch': False, 'begin': 0, 'end': 500},
        {'type': 'MultiStepLR', 'end': 12, 'milestones': [2, 3]},
    ]
    changes = {'train_cfg': epochs, 'param_scheduler': parts}
    sweep = make_sweep(iterations=None, epochs=4, validations=2, overrides=changes)
    assert sweep.length == Length(4, EPOCHS)
    training = replace(ONE, length=sweep.length)
    assert training.name.startswith('seed_adaptformer@1_epochs4_')
    cfg = training_config(sweep, training)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (4, 2)
    assert [part.end for part in cfg.param_scheduler] == [500, 4]
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.by_epoch, checkpoint.interval, cfg.log_processor.by_epoch) == (True, 1, True)
    timed = training_config(sweep, replace(training, purpose=TIME, length=Length(40)))
    assert timed.train_cfg == dict(type='IterBasedTrainLoop', max_iters=40)
    assert not timed.default_hooks.checkpoint.by_epoch and timed.param_scheduler[1].end == 4


def test_validations_during_training_are_logged_at_their_iteration(make_sweep) -> None:
    sweep = make_sweep(validations=5)
    cfg = training_config(sweep, ONE)
    assert cfg.train_cfg.val_interval == 4 and not cfg.default_hooks.logger.log_metric_by_epoch
    tuning = training_config(sweep, replace(ONE, purpose=TUNE))
    assert tuning.train_cfg.val_interval == 20 and 'logger' not in tuning.default_hooks


def test_names_tell_trainings_apart() -> None:
    others = [replace(ONE, seed=2), replace(ONE, rate=None), replace(ONE, head_rate=1e-4)]
    assert ONE.name == 'seed_adaptformer@1_iterations20_seed1_head0.1_rate0.01'
    assert len({one.name for one in (ONE, *others)}) == 4


def test_scores_are_logged_into_a_file_whatever_else_watches(make_sweep) -> None:
    sweep = make_sweep()
    for own in ([], [dict(type='mmengine.LocalVisBackend')]):
        sweep.config.visualizer = dict(
            type='Visualizer', vis_backends=[dict(type='TensorboardVisBackend'), *own]
        )
        kinds = [b.type for b in training_config(sweep, ONE).visualizer.vis_backends]
        assert len(kinds) == 2 and kinds[1].endswith('LocalVisBackend')


@pytest.mark.parametrize(('asked', 'interval'), [(1, 20), (3, 7), (5, 4), (20, 1), (99, 1)])
def test_no_more_validations_than_asked_for(make_sweep, asked: int, interval: int) -> None:
    sweep = make_sweep(validations=asked)
    assert training_config(sweep, ONE).train_cfg.val_interval == interval
