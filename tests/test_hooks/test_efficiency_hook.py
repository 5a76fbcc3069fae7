"""What reaches the visualiser backends and the work dir; no time in seconds is asserted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mmengine import Config
from mmengine.hooks import LoggerHook
from tiny_runs import Run, semantic

from mmqadapter.hooks import EfficiencyHook
from mmqadapter.hooks.peak_memory import PeakMemory
from mmqadapter.hooks.step_meter import StepMeter
from mmqadapter.taskfile import inspect_task

__all__ = ['semantic']
SECONDS = {f'{part}_seconds' for part in ('step', 'forward', 'backward', 'optimizer')}


def with_hooks(cfg: Config, *names: str, **options: Any) -> Config:
    cfg.custom_hooks += [dict(type=f'mmqadapter.{name}', **options) for name in names]
    cfg.model.fingerprint = None  # a bare backbone, which has no task file
    return cfg


def scalars(work_dir: Path) -> list[dict[str, float]]:
    """Lines of the log that hold our figures, without the prefix."""
    text = next(work_dir.glob('*/vis_data/scalars.json')).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    ours = [{k.partition('/')[2] or k: v for k, v in one.items()} for one in lines if mine(one)]
    return ours


def mine(line: dict) -> bool:
    return any(name.startswith('efficiency/') for name in line)


def test_figures_reach_the_log_and_the_work_dir(tiny, train, tmp_path: Path) -> None:
    runner = train(with_hooks(tiny(), 'EfficiencyHook', interval=3))
    first, second, sizes = scalars(tmp_path / 'run')
    assert (first['step'], second['step'], sizes['step']) == (3, 6, 6)
    known = SECONDS | {'saved_for_backward_bytes', 'trainable_backbone_params', 'trainable_params'}
    assert first.keys() == second.keys() == known | {'step'}
    trained = sum(p.numel() for p in runner.model.parameters())
    assert first['trainable_params'] == trained == 25 and first['trainable_backbone_params'] == 20
    assert sizes['task_bytes'] == 4 * trained  # the whole model, as nothing is frozen

    written = json.loads((tmp_path / 'run/efficiency.json').read_text())
    assert written.keys() == known | {
        *('adapter_bytes', 'task_bytes', 'peak_allocated_bytes', 'peak_reserved_bytes', 'steps'),
    }
    assert written['adapter_bytes'] is written['peak_allocated_bytes'] is None
    assert (written['steps'], written['task_bytes']) == (6, 100)
    # Inputs of the linear layers (2, 4) twice, the dropout's mask, the output: all float32.
    assert 64 < written['saved_for_backward_bytes'] == first['saved_for_backward_bytes'] < 400
    parts = sum(written[f'{part}_seconds'] for part in ('forward', 'backward', 'optimizer'))
    assert 0 < parts < 10 * written['step_seconds']


def test_a_task_file_gives_its_own_bytes(semantic: Run) -> None:
    written = json.loads((semantic.work_dir / 'efficiency.json').read_text())
    stored = inspect_task(semantic.task)['bytes']
    assert written['adapter_bytes'] == stored['adapters'] > 0
    assert written['task_bytes'] == stored['file'] == Path(semantic.task).stat().st_size
    assert scalars(semantic.work_dir)[-1]['adapter_bytes'] == stored['adapters']
    summary = json.loads((semantic.work_dir / 'summary.json').read_text())
    # Two hooks report one measurement.
    for name in ('saved_for_backward_bytes', 'peak_allocated_bytes'):
        assert written[name] == summary[name]
    assert summary['step_seconds'] == pytest.approx(written['step_seconds'], abs=1e-4)
    assert written['trainable_params'] == summary['trainable_parameters']


def test_the_task_file_of_another_training_is_not_counted(semantic: Run, tiny, train) -> None:
    cfg = with_hooks(tiny(), 'EfficiencyHook', 'TuningSummaryHook')
    Path(cfg.work_dir).mkdir(exist_ok=True)
    shutil.copy(semantic.task, cfg.work_dir)
    train(cfg)
    written = json.loads(Path(cfg.work_dir, 'efficiency.json').read_text())
    assert (written['adapter_bytes'], written['task_bytes']) == (None, 100)
    assert json.loads(Path(cfg.work_dir, 'summary.json').read_text())['task_bytes_file'] is None


def test_peaks_are_read_before_mmengine_forgets_them(tiny, train, monkeypatch) -> None:
    """Its logger sets the counters back in each step, ahead of our hooks."""
    events: list[str] = []
    for name in ('begin', 'note', 'leave'):
        monkeypatch.setattr(PeakMemory, name, lambda self, name=name: events.append(name))
    logged = LoggerHook.after_train_iter
    monkeypatch.setattr(
        LoggerHook,
        'after_train_iter',
        lambda *args, **kw: (events.append('log'), logged(*args, **kw)),
    )
    train(with_hooks(tiny(), 'EfficiencyHook'))
    steps = ' '.join(events).replace('leave ', '').replace(' leave', '')
    assert steps == ' '.join(['begin note log note'] * 6)
    assert events.count('leave') == 2 and events[12] == 'leave'


def test_training_is_the_same_with_and_without(tiny, train) -> None:
    plain = train(with_hooks(tiny('plain'))).model.state_dict()
    watched = train(with_hooks(tiny('watched'), 'EfficiencyHook', interval=1)).model.state_dict()
    assert all(tensor.equal(watched[name]) for name, tensor in plain.items())


def test_nothing_stays_behind(tiny, train) -> None:
    runner = train(with_hooks(tiny(), 'TuningSummaryHook', 'EfficiencyHook'))
    assert not runner.model._forward_hooks
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks
    assert not runner.optim_wrapper.optimizer._optimizer_step_post_hooks
    assert len(StepMeter.of(runner).steps) == 6


def test_steps_that_gather_gradients_have_no_optimizer(tiny, train) -> None:
    cfg = with_hooks(tiny(), 'EfficiencyHook')
    cfg.optim_wrapper.accumulative_counts = 2
    steps = StepMeter.of(train(cfg)).steps
    gathering, stepping = steps[2::2], steps[3::2]
    assert min(step.optimizer for step in gathering) < min(step.optimizer for step in stepping)


def test_epochs_are_measured_as_well(tiny, train, tmp_path: Path) -> None:
    train(with_hooks(tiny('run', True), 'EfficiencyHook', interval=4))
    assert [line['step'] for line in scalars(tmp_path / 'run')] == [4, 8, 8]


def test_tensorboard_shows_them(tiny, train, tmp_path: Path) -> None:
    pytest.importorskip('tensorboard', reason='needs tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = with_hooks(tiny(), 'EfficiencyHook', interval=3)
    cfg.visualizer = dict(
        type='Visualizer', vis_backends=[dict(type='TensorboardVisBackend')], name='board'
    )
    train(cfg)
    board = EventAccumulator(str(next((tmp_path / 'run').glob('*/vis_data')))).Reload()
    shown = board.Tags()['scalars']
    assert {f'efficiency/{name}' for name in SECONDS} <= set(shown)
    assert [event.step for event in board.Scalars('efficiency/step_seconds')] == [3, 6]
    assert board.Scalars('efficiency/task_bytes')[0].value == 100


def test_an_interval_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match='interval=0 is too small; log every step with 1'):
        EfficiencyHook(interval=0)
