"""Figures in the visualizer backends and the work dir; no time in seconds is asserted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine import Config
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from old_torch import skip_without_optimizer_hooks
from tiny_runs import Run, semantic

from mmqadapter.hooks import EfficiencyHook, TuningSummaryHook
from mmqadapter.taskfile import inspect_task
from mmqadapter.utils.machine import machine_name
from mmqadapter.utils.peak_memory import PeakMemory
from mmqadapter.utils.step_meter import StepMeter

__all__ = ['semantic']
SECONDS = {f'{part}_seconds' for part in ('step', 'forward', 'backward', 'optimizer')}


def with_hooks(cfg: Config, *names: str, **options: Any) -> Config:
    cfg.custom_hooks += [dict(type=f'mmqadapter.{name}', **options) for name in names]
    cfg.model.fingerprint = None  # a bare backbone has no task file
    return cfg


def hook_of(runner: Runner) -> EfficiencyHook:
    """The hook of a runner that measures."""
    (hook,) = (h for h in runner.hooks if isinstance(h, EfficiencyHook) and h.meter is not None)
    return hook


def meter_of(runner: Runner) -> StepMeter:
    meter = hook_of(runner).meter
    assert meter is not None
    return meter


def summary(work_dir: Path) -> dict[str, Any]:
    return json.loads((work_dir / 'summary.json').read_text())


def scalars(work_dir: Path) -> list[dict[str, float]]:
    """Return the lines of the log that hold our figures, without the prefix."""
    text = next(work_dir.glob('*/vis_data/scalars.json')).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [
        {key.partition('/')[2] or key: value for key, value in line.items()}
        for line in lines
        if any(key.startswith('efficiency/') for key in line)
    ]


def test_figures_reach_the_log_and_the_work_dir(tiny, train, tmp_path: Path) -> None:
    runner = train(with_hooks(tiny(), 'EfficiencyHook', interval=3))
    first, second, sizes = scalars(tmp_path / 'run')
    assert (first['step'], second['step'], sizes['step']) == (3, 6, 6)
    known = SECONDS | {'saved_for_backward_bytes', 'trainable_backbone_params', 'trainable_params'}
    assert first.keys() == second.keys() == known | {'step'}
    trained = sum(p.numel() for p in runner.model.parameters())
    assert first['trainable_params'] == trained == 25 and first['trainable_backbone_params'] == 20
    assert sizes['task_bytes'] == 4 * trained  # the whole model, as nothing is frozen

    written = summary(tmp_path / 'run')
    assert written.keys() == known | {
        *('adapter_bytes', 'task_bytes', 'peak_allocated_bytes', 'peak_reserved_bytes', 'steps'),
        *('trainable_params_by_part', 'from_iteration', 'to_iteration', 'machine'),
    }
    assert written['machine'] == machine_name(torch.device('cpu'))
    assert (written['from_iteration'], written['to_iteration']) == (1, 6)
    assert (written['trainable_params'], written['trainable_backbone_params']) == (25, 20)
    assert written['trainable_params_by_part'] == {'backbone': 20, 'head': 5}
    assert written['adapter_bytes'] is written['peak_allocated_bytes'] is None
    assert (written['steps'], written['task_bytes']) == (6, 100)
    # Inputs of the linear layers (2, 4) twice, the dropout's mask, the output: all float32.
    assert 64 < written['saved_for_backward_bytes'] == first['saved_for_backward_bytes'] < 400
    parts = sum(written[f'{part}_seconds'] for part in ('forward', 'backward', 'optimizer'))
    assert 0 < parts < 10 * written['step_seconds']


def test_the_sizes_of_a_task_file_are_its_own(semantic: Run) -> None:
    written = summary(semantic.work_dir)
    stored = inspect_task(semantic.task)['bytes']
    assert written['adapter_bytes'] == stored['adapters'] > 0
    assert written['task_bytes'] == stored['file'] == Path(semantic.task).stat().st_size
    assert scalars(semantic.work_dir)[-1]['adapter_bytes'] == stored['adapters']
    parts = written['trainable_params_by_part']
    in_backbone = parts['backbone.trunk'] + parts['backbone.adapters']
    assert parts['backbone.trunk'] == 0 < in_backbone == written['trainable_backbone_params']
    assert sum(parts.values()) == written['trainable_params'] > in_backbone


def test_the_task_file_of_another_training_is_not_counted(semantic: Run, tiny, train) -> None:
    cfg = with_hooks(tiny(), 'EfficiencyHook')
    Path(cfg.work_dir).mkdir(exist_ok=True)
    shutil.copy(semantic.task, cfg.work_dir)
    train(cfg)
    written = summary(Path(cfg.work_dir))
    assert (written['adapter_bytes'], written['task_bytes']) == (None, 100)


@pytest.mark.filterwarnings('ignore:TuningSummaryHook is now EfficiencyHook:FutureWarning')
@pytest.mark.parametrize(
    'names', [('TuningSummaryHook', 'EfficiencyHook'), ('EfficiencyHook',) * 2]
)
def test_a_second_hook_steps_aside(tiny, train, tmp_path: Path, names, capfd) -> None:
    cfg = with_hooks(tiny(), *names)
    cfg.custom_hooks[-1].interval = 3
    cfg.custom_hooks[-2].interval = 3 if names[0] == names[1] else 1
    runner = train(cfg)
    assert (
        ''.join(capfd.readouterr()).count('custom_hooks lists EfficiencyHook more than once') == 1
    )
    assert type(hook_of(runner)) is EfficiencyHook and hook_of(runner).interval == 3
    assert [line['step'] for line in scalars(tmp_path / 'run')] == [3, 6, 6]
    assert summary(tmp_path / 'run')['steps'] == 6


def test_the_former_name_measures_as_well(tiny, train, tmp_path: Path) -> None:
    with pytest.warns(FutureWarning, match='TuningSummaryHook is now EfficiencyHook; use that'):
        runner = train(with_hooks(tiny(), 'TuningSummaryHook'))
    assert isinstance(hook_of(runner), TuningSummaryHook)
    assert summary(tmp_path / 'run')['steps'] == 6


def test_parts_and_figures_are_in_the_log_of_the_run(tiny, train, capfd) -> None:
    cfg = with_hooks(tiny(), 'EfficiencyHook')
    cfg.log_level = 'INFO'
    train(cfg)
    text = ''.join(capfd.readouterr())
    rows = [[cell.strip() for cell in line.split('│')[1:-1]] for line in text.splitlines()]
    assert ['backbone', '20', '0'] in rows and ['head', '5', '0'] in rows
    assert ['trainable params of head', '5'] in rows and ['task bytes', '100'] in rows
    assert ['peak allocated bytes', '-'] in rows
    (seconds,) = (row[1] for row in rows if row[:1] == ['step seconds'])
    assert len(seconds.partition('.')[2]) == 4


def test_peaks_are_read_before_mmengine_resets_them(tiny, train, monkeypatch) -> None:
    """Its logger resets the counters in each step, before our hook."""
    skip_without_optimizer_hooks()
    events: list[str] = []
    for name in ('begin', 'update', 'pause'):
        monkeypatch.setattr(PeakMemory, name, lambda self, name=name: events.append(name))
    logged = LoggerHook.after_train_iter
    monkeypatch.setattr(
        LoggerHook,
        'after_train_iter',
        lambda *args, **kw: (events.append('log'), logged(*args, **kw)),
    )
    train(with_hooks(tiny(), 'EfficiencyHook'))
    steps = ' '.join(events).replace('pause ', '').replace(' pause', '')
    assert steps == ' '.join(['begin update log update'] * 6)
    assert events.count('pause') == 2 and events[12] == 'pause'


def test_training_is_the_same_with_and_without(tiny, train) -> None:
    plain = train(with_hooks(tiny('plain'))).model.state_dict()
    watched = train(with_hooks(tiny('watched'), 'EfficiencyHook', interval=1)).model.state_dict()
    assert all(tensor.equal(watched[name]) for name, tensor in plain.items())


def test_nothing_stays_behind(tiny, train) -> None:
    runner = train(with_hooks(tiny(), 'EfficiencyHook'))
    assert not runner.model._forward_hooks
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks
    assert not runner.optim_wrapper.optimizer._optimizer_step_post_hooks
    assert len(meter_of(runner).steps) == 6


def test_a_validation_before_the_first_step_is_not_measured(tiny, train, tmp_path: Path) -> None:
    """TaskCheckpointHook repeats a missed validation before this hook has started."""
    train(with_hooks(tiny('whole')))
    cfg = with_hooks(tiny('resumed'), 'EfficiencyHook')
    cfg.val_evaluator.scores = [0.5, 0.4]
    runner = train(cfg, resume=tmp_path / 'whole/iter_3.pth')
    assert len(meter_of(runner).steps) == 3


def test_steps_that_accumulate_gradients_have_no_optimizer(tiny, train) -> None:
    cfg = with_hooks(tiny(), 'EfficiencyHook')
    cfg.optim_wrapper.accumulative_counts = 2
    steps = meter_of(train(cfg)).steps
    accumulating, stepping = steps[2::2], steps[3::2]
    assert min(step.optimizer for step in accumulating) < min(step.optimizer for step in stepping)


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
    with pytest.raises(ValueError, match='interval=0 is invalid: .*; use 1 to log each'):
        EfficiencyHook(interval=0)
