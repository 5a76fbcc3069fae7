"""A training that is told to stop saves what it reached, and goes on from there exactly."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tiny_runs import ROOT, Run, forget, fresh_globals, semantic, tool

from mmqadapter.taskfile import inspect_task

__all__ = ['fresh_globals', 'semantic']

ENDLESS = 10**6
CONFIG = """
_base_ = {base!r}
model = dict(backbone=dict(adapter=dict(dropout=0.1)))
train_dataloader = dict(num_workers={workers}, persistent_workers={workers} > 0)
"""
ITERATIONS = """
train_cfg = dict(max_iters={steps}, val_interval=10**6)
default_hooks = dict(checkpoint=dict(interval=1000, max_keep_ckpts=2, save_best=None))
"""
EPOCHS = """
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs={steps}, val_interval=10**6)
train_dataloader = dict(
    num_workers={workers}, sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1000, save_best=None))
"""


@pytest.fixture
def start() -> Iterator[Callable[..., multiprocessing.Process]]:
    """``start(config, work_dir)``: a training in another process, which has taken some steps."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['trainings'])
    begun: list[multiprocessing.Process] = []

    def process(config: str, work_dir: Path, resume: bool = False) -> multiprocessing.Process:
        from trainings import train

        started = context.Process(target=train, args=(config, str(work_dir), resume))
        started.start()
        begun.append(started)
        wait_for(lambda: 'Iter(train)' in log(work_dir) or 'Epoch(train)' in log(work_dir), started)
        return started

    yield process
    for started in begun:
        started.kill()


def log(work_dir: Path) -> str:
    return ''.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))


def wait_for(condition: Callable[[], bool], process: multiprocessing.Process) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert process.is_alive() and time.monotonic() < limit
        time.sleep(0.02)


def config(run: Run, folder: Path, steps: int, workers: int = 0, length: str = ITERATIONS) -> str:
    path = folder / f'stopped{steps}.py'
    path.write_text((CONFIG + length).format(base=run.config, steps=steps, workers=workers))
    return str(path)


def reached(work_dir: Path) -> tuple[Path, int]:
    """Return the last checkpoint and its iteration."""
    checkpoint = Path((work_dir / 'last_checkpoint').read_text())
    return checkpoint, torch.load(checkpoint, weights_only=False)['meta']['iter']


HOOKS = """
_base_ = {base!r}
custom_imports = dict(imports=['mmqadapter', 'step_hooks'])
custom_hooks = [*_base_.custom_hooks, dict({hook})]
default_hooks = dict(checkpoint=dict(interval=100))
"""


def train_with(run: Run, folder: Path, hook: str, *options: str) -> int:
    path = folder / 'hooked.py'
    path.write_text(HOOKS.format(base=run.config, hook=hook))
    forget()
    return tool('train')([str(path), '--work-dir', str(folder / 'work'), *options])


@pytest.mark.parametrize(('step', 'in_validation'), [(1, False), (3, False), (2, True)])
def test_a_stopped_training_goes_on_exactly(
    semantic: Run, tmp_path: Path, step: int, in_validation: bool
) -> None:
    hook = f"type='SelfSignal', number=15, step={step}, in_validation={in_validation}"
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert train_with(semantic, tmp_path, hook) == 128 + signal.SIGTERM
    assert handlers == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    work = tmp_path / 'work'
    assert reached(work) == (work / f'iter_{step}.pth', step)
    assert not in_validation or not (work / 'best.task.safetensors').exists()
    assert train_with(semantic, tmp_path, "type='SlowStep', seconds=0", '--resume') == 0
    for name in ('last', 'best'):
        task = (work / f'{name}.task.safetensors').read_bytes()
        assert task == (semantic.work_dir / f'{name}.task.safetensors').read_bytes()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_first_step_ends_it(semantic: Run, tmp_path: Path, number: int) -> None:
    hook, began = f"type='StuckFirstBatch', number={number}, seconds=120", time.monotonic()
    assert train_with(semantic, tmp_path, hook) == 128 + number
    assert time.monotonic() - began < 60
    work, name = tmp_path / 'work', {signal.SIGINT: 'Ctrl-C', signal.SIGTERM: 'SIGTERM'}[number]
    assert f'stopped by {name} in its first step; there is nothing to save' in log(work)
    assert not list(work.glob('*.pth')) and not list(work.glob('*.safetensors'))


def test_an_early_stop_leaves_a_checkpoint(semantic: Run, tmp_path: Path) -> None:
    hook = "type='EarlyStoppingHook', monitor='mIoU', patience=1, min_delta=200.0"
    longer = ['--cfg-options', 'train_cfg.max_iters=20']
    assert train_with(semantic, tmp_path, hook, *longer) == 0
    work = tmp_path / 'work'
    assert reached(work) == (work / 'iter_4.pth', 4)
    assert train_with(semantic, tmp_path, hook, '--resume', *longer) == 0
    assert 'resumed epoch: 0, iter: 4' in log(work) and reached(work)[1] > 4


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_what_was_reached(
    semantic: Run, start, tmp_path: Path, number: int, workers: int
) -> None:
    work = tmp_path / 'stopped'
    process = start(config(semantic, tmp_path, ENDLESS, workers), work)
    os.kill(process.pid, number)
    process.join(120)
    assert process.exitcode == 128 + number
    checkpoint, iteration = reached(work)
    assert checkpoint.name == f'iter_{iteration}.pth' and 0 < iteration < 1000
    assert inspect_task(work / 'last.task.safetensors')
    assert f'after iteration {iteration} of {ENDLESS}; --resume goes on' in log(work)
    whole = config(semantic, tmp_path, iteration + 3, workers)
    for folder, options in ((work, ['--resume']), (tmp_path / 'whole', [])):
        forget()
        assert tool('train')([whole, '--work-dir', str(folder), *options]) == 0
    tasks = [folder / 'last.task.safetensors' for folder in (work, tmp_path / 'whole')]
    assert tasks[0].read_bytes() == tasks[1].read_bytes()


@pytest.mark.slow
def test_a_stop_within_an_epoch_keeps_the_steps_of_the_epoch(
    semantic: Run, start, tmp_path: Path
) -> None:
    work = tmp_path / 'stopped'
    process = start(config(semantic, tmp_path, ENDLESS, length=EPOCHS), work)
    os.kill(process.pid, signal.SIGTERM)
    process.join(120)
    assert process.exitcode == 128 + signal.SIGTERM
    checkpoint, iteration = reached(work)
    meta = torch.load(checkpoint, weights_only=False)['meta']
    within = iteration != 2 * meta['epoch']  # an epoch has two steps
    assert checkpoint.name == (f'iter_{iteration}.pth' if within else f'epoch_{meta["epoch"]}.pth')


@pytest.mark.slow
def test_a_second_interruption_ends_at_once(semantic: Run, start, tmp_path: Path) -> None:
    work, slow = tmp_path / 'stopped', Path(config(semantic, tmp_path, ENDLESS))
    slow.write_text(slow.read_text() + SLOW)
    process = start(str(slow), work)
    time.sleep(1)  # until the second step has begun, which takes a minute
    os.kill(process.pid, signal.SIGINT)
    time.sleep(1.5)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 130 and not (work / 'last_checkpoint').exists()


SLOW = """
custom_imports = dict(imports=['mmqadapter', 'step_hooks'])
custom_hooks = [*_base_.custom_hooks, dict(type='SlowStep', seconds=60)]
"""


@pytest.mark.slow
def test_a_group_signal_reaches_the_data_workers_too(semantic: Run, tmp_path: Path) -> None:
    work = tmp_path / 'stopped'
    path = config(semantic, tmp_path, ENDLESS, workers=2)
    command = [sys.executable, str(ROOT / 'tools/train.py'), path, '--work-dir', str(work)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 120
    while 'Iter(train)' not in log(work) and time.monotonic() < limit:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert reached(work)[1] > 0 and 'SIGTERM: stopping after this step' in errors
