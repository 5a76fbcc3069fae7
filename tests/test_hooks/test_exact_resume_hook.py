"""A resumed run equals the uninterrupted one, bit for bit."""

from __future__ import annotations

import random
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmqadapter.hooks import ExactResumeHook
from mmqadapter.utils.random_state import get_random_state, seeded, set_random_state

pytestmark = pytest.mark.usefixtures('saved_tasks')


def load(path):
    return torch.load(path, weights_only=False)


def assert_equal(one, other, where=''):
    """Compare nested containers of tensors and numbers exactly."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f'{where}/{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f'{where}/{number}')
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(one, other):
    for part in ('state_dict', 'optimizer', 'param_schedulers', 'random_states'):
        assert_equal(load(one)[part], load(other)[part], part)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('by_epoch', [False, True])
def test_resume_equals_uninterrupted(tiny, train, tmp_path, by_epoch, workers):
    middle, end = ('epoch_1.pth', 'epoch_2.pth') if by_epoch else ('iter_3.pth', 'iter_6.pth')
    train(tiny('whole', by_epoch, workers))
    torch.rand(3), np.random.rand(5), random.random()
    train(tiny('resumed', by_epoch, workers), resume=tmp_path / 'whole' / middle)
    assert_same_run(tmp_path / 'whole' / end, tmp_path / 'resumed' / end)


def test_the_number_of_workers_changes_nothing(tiny, train, tmp_path):
    train(tiny('zero', workers=0))
    train(tiny('two', workers=2))
    assert_same_run(tmp_path / 'zero' / 'iter_6.pth', tmp_path / 'two' / 'iter_6.pth')


def test_validation_changes_nothing(tiny, train, tmp_path):
    train(tiny('with'))
    cfg = tiny('without')
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    train(cfg)
    assert_same_run(tmp_path / 'with' / 'iter_6.pth', tmp_path / 'without' / 'iter_6.pth')


def test_finite_sampler_in_a_loop_over_iterations(tiny, train, tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)

    def config(name):  # four steps see all samples; the checkpoint at step 4 is the very boundary
        cfg = tiny(name)
        cfg.train_dataloader.sampler.type = 'DefaultSampler'
        cfg.default_hooks.checkpoint.interval = 2
        return cfg

    train(config('whole'))
    for step in (2, 4):
        train(config(f'from{step}'), resume=tmp_path / 'whole' / f'iter_{step}.pth')
        assert_same_run(tmp_path / 'whole' / 'iter_6.pth', tmp_path / f'from{step}' / 'iter_6.pth')


def test_resume_with_ema_and_best(tiny, train, tmp_path):
    def config(name):
        cfg = tiny(name)
        cfg.default_hooks.checkpoint.save_best = 'toy/mIoU'
        cfg.custom_hooks.append(dict(type='EMAHook'))
        return cfg

    train(config('whole'))
    train(config('resumed'), resume=tmp_path / 'whole' / 'iter_3.pth')
    assert_same_run(tmp_path / 'whole' / 'iter_6.pth', tmp_path / 'resumed' / 'iter_6.pth')
    assert_equal(
        load(tmp_path / 'whole' / 'iter_6.pth')['ema_state_dict'],
        load(tmp_path / 'resumed' / 'iter_6.pth')['ema_state_dict'],
    )


def test_checkpoint_loads_without_running_code(tiny, train, tmp_path):
    train(tiny())
    path = tmp_path / 'run' / 'iter_6.pth'
    safe = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    assert_equal(safe['random_states'], load(path)['random_states'])


def test_the_log_says_whether_the_run_resumes_exactly(tiny, train, tmp_path, capfd):
    def config(name):
        cfg = tiny(name)
        cfg.optim_wrapper.paramwise_cfg = dict(custom_keys={'head': dict(lr_mult=0.5)})
        return cfg

    train(config('whole'))
    checkpoint = tmp_path / 'whole' / 'iter_3.pth'
    capfd.readouterr()
    cfg = config('exact')
    cfg.log_level = 'INFO'
    train(cfg, resume=checkpoint)
    assert 'resumes exactly: random states of 1 rank' in ''.join(capfd.readouterr())

    content = load(checkpoint)
    states = content.pop('random_states')
    torch.save(content, tmp_path / 'none.pth')
    torch.save(dict(content, random_states=states * 2), tmp_path / 'two.pth')
    train(config('none'), resume=tmp_path / 'none.pth')
    assert 'no random states' in ''.join(capfd.readouterr())
    train(config('two'), resume=tmp_path / 'two.pth')
    assert 'from 2 process(es), this run has 1' in ''.join(capfd.readouterr())
    cfg = config('seed')
    cfg.randomness = dict(seed=7)
    train(cfg, resume=checkpoint)
    assert 'the seed was 0 and is now 7' in ''.join(capfd.readouterr())
    cfg = config('rate')
    cfg.optim_wrapper.optimizer.lr *= 2
    train(cfg, resume=checkpoint)
    assert 'the learning rates of the checkpoint stay in force' in ''.join(capfd.readouterr())
    cfg = config('accumulated')
    cfg.optim_wrapper.accumulative_counts = 2
    train(cfg, resume=checkpoint)
    assert 'while gradients were being accumulated' in ''.join(capfd.readouterr())


def test_every_rank_restores_its_own_state(monkeypatch):
    module = 'mmqadapter.hooks.exact_resume_hook'
    states = [get_random_state()]
    expected = [random.random()]
    states.append(get_random_state())
    expected.append(random.random())
    monkeypatch.setattr(f'{module}.all_gather_object', lambda state: states)
    monkeypatch.setattr(f'{module}._obstacles', lambda *args: ['tested elsewhere'])
    checkpoint = {'meta': {}}
    hook = ExactResumeHook()
    hook.collect_from_all_ranks(None)
    hook.before_save_checkpoint(None, checkpoint)
    for rank in range(2):
        monkeypatch.setattr(f'{module}.get_dist_info', lambda rank=rank: (rank, 2))
        hook.after_load_checkpoint(mock.Mock(_resume=True), checkpoint)
        hook.before_train_iter(None, 0)
        assert random.random() == expected[rank]


def test_random_state_round_trip():
    state = get_random_state()
    first = random.gauss(0, 1), np.random.randn(), torch.randn(2)
    set_random_state(state)
    assert_equal(first, (random.gauss(0, 1), np.random.randn(), torch.randn(2)))


def test_a_seeded_block_restores_the_generators():
    before = get_random_state()
    draws = []
    for key in ((1, 2), (1, 2), (2, 1)):
        with seeded(*key):
            draws.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert draws[0] == draws[1] != draws[2]
    assert_equal(before, get_random_state())
