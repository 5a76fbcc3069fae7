from __future__ import annotations

from dataclasses import replace

import pytest
from mmengine.config import Config

from mmqadapter.studies.sweep.length import EPOCHS, Length
from mmqadapter.studies.sweep.training import SEED, TIME, TUNE, Training, training_config

TRAINING = Training(SEED, 'adaptformer@1', 1, Length(20), 0.1, 0.01)


def test_a_config_is_complete(make_sweep, tmp_path) -> None:
    (tmp_path / 'full.py').write_text(training_config(make_sweep(), TRAINING).pretty_text)
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


def test_the_rate_is_set_for_the_methods_group_only(make_sweep) -> None:
    sweep = make_sweep()
    full = training_config(sweep, replace(TRAINING, method='full')).optim_wrapper.paramwise_cfg
    assert full.custom_keys.keys() == {'norm', 'backbone'}
    frozen = training_config(sweep, replace(TRAINING, method='frozen', rate=None))
    assert frozen.optim_wrapper.paramwise_cfg.custom_keys.keys() == {'norm'}


def test_a_timed_training_has_no_validation_and_the_same_schedule(make_sweep) -> None:
    cfg = training_config(make_sweep(), replace(TRAINING, purpose=TIME, length=Length(4)))
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert cfg.train_cfg.max_iters == 4
    assert cfg.param_scheduler[1].end == 20


def test_a_config_in_epochs(make_sweep) -> None:
    epochs = {'type': 'EpochBasedTrainLoop', 'max_epochs': 12, 'val_interval': 1, '_delete_': True}
    parts = [
        {'type': 'LinearLR', 'by_epoch': False, 'begin': 0, 'end': 500},
        {'type': 'MultiStepLR', 'end': 12, 'milestones': [2, 3]},
    ]
    changes = {'train_cfg': epochs, 'param_scheduler': parts}
    sweep = make_sweep(iterations=None, epochs=4, validations=2, overrides=changes)
    assert sweep.length == Length(4, EPOCHS)
    training = replace(TRAINING, length=sweep.length)
    assert training.name.startswith('seed_adaptformer@1_epochs4_')
    cfg = training_config(sweep, training)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (4, 2)
    assert [part.end for part in cfg.param_scheduler] == [500, 4]
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.by_epoch, checkpoint.interval, cfg.log_processor.by_epoch) == (True, 1, True)
    timed = training_config(sweep, replace(training, purpose=TIME, length=Length(40)))
    assert timed.train_cfg == dict(type='IterBasedTrainLoop', max_iters=40)
    assert not timed.default_hooks.checkpoint.by_epoch and timed.param_scheduler[1].end == 4


def test_validations_are_logged_at_their_iteration(make_sweep) -> None:
    sweep = make_sweep(validations=5)
    cfg = training_config(sweep, TRAINING)
    assert cfg.train_cfg.val_interval == 4 and not cfg.default_hooks.logger.log_metric_by_epoch
    tuning = training_config(sweep, replace(TRAINING, purpose=TUNE))
    assert tuning.train_cfg.val_interval == 20 and 'logger' not in tuning.default_hooks


def test_names_of_trainings_are_unique() -> None:
    others = [
        replace(TRAINING, seed=2),
        replace(TRAINING, rate=None),
        replace(TRAINING, head_rate=1e-4),
    ]
    assert TRAINING.name == 'seed_adaptformer@1_iterations20_seed1_head0.1_rate0.01'
    assert len({training.name for training in (TRAINING, *others)}) == 4


def test_scores_are_logged_to_a_file_beside_other_backends(make_sweep) -> None:
    sweep = make_sweep()
    for local in ([], [dict(type='mmengine.LocalVisBackend')]):
        sweep.config.visualizer = dict(
            type='Visualizer', vis_backends=[dict(type='TensorboardVisBackend'), *local]
        )
        kinds = [b.type for b in training_config(sweep, TRAINING).visualizer.vis_backends]
        assert len(kinds) == 2 and kinds[1].endswith('LocalVisBackend')


@pytest.mark.parametrize(('requested', 'interval'), [(1, 20), (3, 7), (5, 4), (20, 1), (99, 1)])
def test_no_more_validations_than_requested(make_sweep, requested: int, interval: int) -> None:
    sweep = make_sweep(validations=requested)
    assert training_config(sweep, TRAINING).train_cfg.val_interval == interval
