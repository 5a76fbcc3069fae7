"""Checkpoints and task files: their content, refused ones, and files after a crash."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.checkpoints.content import frozen_keys
from mmqadapter.hooks import TaskCheckpointHook


def load(path):
    return torch.load(path, weights_only=False)


def named_by_pointer(work_dir):
    """Return the checkpoint that last_checkpoint names."""
    return Path((work_dir / 'last_checkpoint').read_text())


def test_checkpoints_hold_no_trunk(tiny, train, tmp_path, saved_tasks):
    cfg = tiny()
    cfg.custom_hooks.append(dict(type='EMAHook'))
    runner = train(cfg)
    checkpoint = load(tmp_path / 'run' / 'iter_6.pth')
    assert checkpoint['mmqadapter'] == {'version': 1, 'fingerprint': 'abc', 'tuning': {}}
    trained = {
        f'{part}.{name}' for part in ('backbone.adapters', 'head') for name in ('weight', 'bias')
    }
    assert set(checkpoint['state_dict']) == trained
    assert set(checkpoint['ema_state_dict']) == {f'module.{key}' for key in trained} | {'steps'}
    assert named_by_pointer(tmp_path / 'run') == tmp_path / 'run' / 'iter_6.pth'
    assert frozen_keys(runner.model) == set(runner.model.state_dict()) - trained


def test_checkpoints_are_whole_with_keep_trunk_or_a_bare_backbone(
    tiny, train, tmp_path, saved_tasks
):
    cfg = tiny('kept')
    cfg.default_hooks.checkpoint.keep_trunk = True
    runner = train(cfg)
    assert set(load(tmp_path / 'kept' / 'iter_6.pth')['state_dict']) == set(
        runner.model.state_dict()
    )
    saved_tasks.clear()
    cfg = tiny('bare')
    cfg.model.fingerprint = None
    runner = train(cfg)
    checkpoint = load(tmp_path / 'bare' / 'iter_6.pth')
    assert set(checkpoint['state_dict']) == set(runner.model.state_dict())
    assert 'mmqadapter' not in checkpoint
    assert not saved_tasks


def test_task_files_of_the_last_and_the_best_step(tiny, train, tmp_path, saved_tasks):
    cfg = tiny()
    cfg.default_hooks.checkpoint.update(save_best='toy/mIoU', head_bits=16)
    train(cfg)
    assert set(saved_tasks) == {'best.task.safetensors', 'last.task.safetensors'}
    meta = {'classes': ['one'], 'palette': [[1, 2, 3]]}
    for name, step in (('best', 3), ('last', 6)):  # the scores are 0.5, then 0.4
        weights, kwargs = saved_tasks[f'{name}.task.safetensors']
        assert kwargs == {'dataset_meta': meta, 'head_bits': 16}
        state = load(tmp_path / 'run' / f'iter_{step}.pth')['state_dict']
        assert all(torch.equal(weights[key], state[key]) for key in state)


@pytest.mark.parametrize(
    ('bits', 'message'),
    [(5, 'head_bits=5 '), ({}, 'no layer is named'), ({'head': 3}, "'head': 3")],
)
def test_invalid_head_bits_are_refused_before_training(bits, message):
    with pytest.raises(ValueError, match=message):
        TaskCheckpointHook(head_bits=bits)


def test_a_pattern_that_matches_no_layer_is_refused_before_training(tiny, train, saved_tasks):
    cfg = tiny()
    cfg.default_hooks.checkpoint.head_bits = {'neck.*': 8}
    with pytest.raises(ValueError, match=r"'neck\.\*' matches no linear .* such as 'head'"):
        train(cfg)
    assert not saved_tasks


@pytest.mark.parametrize('bits', [8, {'head': 8}])
def test_a_head_of_8_bits_is_written_and_loads(tiny, train, tmp_path, bits):
    cfg = tiny()
    cfg.model.classes = 3
    cfg.default_hooks.checkpoint.head_bits = bits
    model = train(cfg).model
    trained = model.head.weight.detach().clone()
    assert trained.unique().numel() == trained.numel() == 12  # it trained in float
    path = tmp_path / 'run' / 'last.task.safetensors'
    assert inspect_task(path)['tensors']['head.weight'][0] == '8 bits'
    nn.init.zeros_(model.head.weight)
    load_task(model, path)
    error = (model.head.weight.detach() - trained).abs().max()
    assert 0 < error < 0.05 * trained.std()
    save_task(model, tmp_path / 'again.task.safetensors', head_bits=8)
    assert (
        inspect_task(tmp_path / 'again.task.safetensors')['tensors']
        == (inspect_task(path)['tensors'])
    )


def test_best_file_holds_the_averaged_weights_that_were_validated(
    tiny, train, monkeypatch, saved_tasks
):
    validated = []
    cfg = tiny()
    cfg.default_hooks.checkpoint.save_best = 'toy/mIoU'
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.5))
    monkeypatch.setattr(
        'mmengine.model.BaseModel.val_step',
        lambda self, data: validated.append(self.head.weight.clone()) or [0],
    )
    train(cfg)
    weights, _ = saved_tasks['best.task.safetensors']
    assert torch.equal(weights['head.weight'], validated[0])
    assert torch.equal(saved_tasks['last.task.safetensors'][0]['head.weight'], validated[-1])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(fingerprint='other'), 'trained on the trunk abc, the model has other'),
        (dict(fingerprint=None), 'the model has no frozen trunk'),
    ],
)
def test_another_trunk_is_refused(tiny, train, tmp_path, saved_tasks, change, message):
    train(tiny())
    cfg = tiny('other')
    cfg.model.update(change)
    with pytest.raises(ValueError, match=message):
        train(cfg, resume=tmp_path / 'run' / 'iter_3.pth')


def test_missing_trainable_weights_and_newer_version_are_refused(
    tiny, train, tmp_path, saved_tasks
):
    train(tiny())
    checkpoint = load(tmp_path / 'run' / 'iter_3.pth')
    checkpoint['mmqadapter']['version'] = 2
    torch.save(checkpoint, tmp_path / 'newer.pth')
    with pytest.raises(ValueError, match='version 2.*update mmqadapter'):
        train(tiny('newer'), resume=tmp_path / 'newer.pth')
    checkpoint['mmqadapter']['version'] = 1
    del checkpoint['state_dict']['head.bias']
    torch.save(checkpoint, tmp_path / 'short.pth')
    with pytest.raises(ValueError, match=r"lacks 1 trainable .*'head.bias'"):
        train(tiny('short'), resume=tmp_path / 'short.pth')


def test_one_kept_checkpoint_survives_a_crash_at_every_write(
    tiny, train, tmp_path, monkeypatch, saved_tasks
):
    """The third replacement is the second checkpoint's, the fourth its pointer's."""
    replace = os.replace
    for crash, step in ((3, 3), (4, 3), (5, 6)):
        calls = []

        def counted(*args, crash=crash, calls=calls):
            calls.append(args)
            if len(calls) == crash:
                raise OSError('power cut')
            replace(*args)

        cfg = tiny(f'crash{crash}')
        cfg.default_hooks.checkpoint.max_keep_ckpts = 1
        monkeypatch.setattr(os, 'replace', counted)
        if crash < 5:
            with pytest.raises(OSError, match='power cut'):
                train(cfg)
        else:
            train(cfg)
        work_dir = tmp_path / f'crash{crash}'
        assert named_by_pointer(work_dir).name == f'iter_{step}.pth'
        load(named_by_pointer(work_dir))
    assert sorted(path.name for path in work_dir.glob('*.pth')) == ['iter_6.pth']


def test_resume_without_a_path_finds_the_last_checkpoint(tiny, train, tmp_path, saved_tasks):
    cfg = tiny()
    cfg.train_cfg.max_iters = 3
    train(cfg)
    cfg = tiny()
    cfg.merge_from_dict(dict(resume=True, experiment_name='again'))
    assert train(cfg).iter == 6


def test_a_run_that_goes_on_elsewhere_leaves_the_first_one_alone(
    tiny, train, tmp_path, saved_tasks
):
    cfg = tiny('first')
    cfg.train_cfg.max_iters = 3
    cfg.default_hooks.checkpoint.save_best = 'toy/mIoU'
    cfg.val_evaluator.scores = [0.1]
    train(cfg)
    (best,) = (tmp_path / 'first').glob('best_*.pth')
    cfg = tiny('second')
    cfg.default_hooks.checkpoint.save_best = 'toy/mIoU'
    cfg.val_evaluator.scores = [0.2]
    train(cfg, resume=tmp_path / 'first/iter_3.pth')
    assert best.exists() and len(list((tmp_path / 'second').glob('best_*.pth'))) == 1


@pytest.fixture
def earlier(tmp_path) -> Callable[[str], None]:
    """``earlier(folder)``: the folder gets task files, written at a known time."""

    def write(folder: str) -> None:
        (tmp_path / folder).mkdir(exist_ok=True)
        written = time.mktime((2026, 1, 31, 9, 30, 0, 0, 0, -1))
        for name in ('best', 'last'):
            path = tmp_path / folder / f'{name}.task.safetensors'
            path.write_text(name)
            os.utime(path, (written, written))

    return write


def kept_tasks(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob('*_2*.task.safetensors')}


def test_task_files_of_an_earlier_training_are_renamed(
    tiny, train, tmp_path, saved_tasks, capfd, earlier
):
    earlier('run')
    train(tiny())
    run = tmp_path / 'run'
    names = [f'{name}_20260131_093000.task.safetensors' for name in ('best', 'last')]
    assert kept_tasks(run) == {names[0]: 'best', names[1]: 'last'}
    logged = ''.join(capfd.readouterr())
    for state in ('were renamed', 'are kept'):  # at the start, and at the end
        assert logged.count(f'{state} in {run}: {", ".join(names)}.') == 1
    earlier('run')  # written in the same second
    cfg = tiny()
    cfg.experiment_name = 'again'
    train(cfg)
    assert kept_tasks(run)['best_20260131_093000_2.task.safetensors'] == 'best'
    assert len(kept_tasks(run)) == 4


@pytest.mark.parametrize(('folder', 'kept'), [('first', 0), ('second', 2)])
def test_only_a_run_that_resumes_its_work_dir_keeps_the_names_of_its_tasks(
    tiny, train, tmp_path, saved_tasks, earlier, folder, kept
):
    cfg = tiny('first')
    cfg.train_cfg.max_iters = 3
    train(cfg)
    earlier(folder)
    cfg = tiny(folder)
    cfg.experiment_name = 'again'
    train(cfg, resume=tmp_path / 'first/iter_3.pth')
    assert len(kept_tasks(tmp_path / folder)) == kept


def test_a_resumed_training_that_is_at_its_end_says_so(tiny, train, tmp_path, saved_tasks, capfd):
    train(tiny())
    cfg = tiny()
    cfg.custom_hooks.append(dict(type='mmqadapter.EfficiencyHook'))
    cfg.merge_from_dict(dict(experiment_name='again', train_cfg=dict(max_iters=3)))
    capfd.readouterr()
    train(cfg, resume=tmp_path / 'run/iter_6.pth')
    assert 'Nothing is left to train: the resumed training has reached iteration 6 of 3' in ''.join(
        capfd.readouterr()
    )
    assert not (tmp_path / 'run/summary.json').exists()  # that of the training stays
