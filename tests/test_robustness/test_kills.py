"""A training that is killed repeatedly ends with the weights of an uninterrupted one.

``MMQADAPTER_KILLS=50 pytest tests/test_robustness/test_kills.py`` kills it fifty times.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import Run, fresh_globals, semantic

from mmqadapter.taskfile import inspect_task

pytestmark = pytest.mark.xdist_group('kills')
__all__ = ['fresh_globals', 'semantic']

KILLS = int(os.environ.get('MMQADAPTER_KILLS', '6'))
CONFIG = """
_base_ = {base!r}
model = dict(backbone=dict(adapter=dict(dropout=0.1)))
train_cfg = dict(max_iters=12, val_interval=3)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2))
"""
Start = Callable[..., multiprocessing.Process]


@pytest.fixture(scope='module')
def start() -> Start:
    """``start(config, work_dir, resume, moment, at)``: start a training in another process."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['trainings'])

    def process(*args: object) -> multiprocessing.Process:
        from trainings import train

        started = context.Process(target=train, args=args)
        started.start()
        return started

    return process


@pytest.fixture(scope='module')
def config(semantic: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a config of twelve steps with dropout and random crops, saving after each step."""
    path = tmp_path_factory.mktemp('kills') / 'killed.py'
    path.write_text(CONFIG.format(base=semantic.config))
    return str(path)


def weights(work_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(work_dir / 'iter_12.pth', weights_only=False)['state_dict']


def check_files(work_dir: Path) -> None:
    """Check that all files are complete, and that last_checkpoint names an existing one."""
    for path in work_dir.glob('*.pth'):
        torch.load(path, weights_only=False)
    for path in work_dir.glob('*.task.safetensors'):
        inspect_task(path)
    pointer = work_dir / 'last_checkpoint'
    assert not pointer.exists() or Path(pointer.read_text().strip()).is_file()


@pytest.mark.parametrize('kills', [1, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_kills_at_random_moments_change_nothing(
    kills: int, config: str, start: Start, tmp_path: Path
) -> None:
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    began = time.monotonic()
    run = start(config, str(whole), False)
    run.join(300)
    seconds = time.monotonic() - began
    assert run.exitcode == 0
    draw, count = random.Random(0), 0
    while count < kills:
        resume = (killed / 'last_checkpoint').exists()
        if draw.random() < 0.5:
            run = start(
                config,
                str(killed),
                resume,
                draw.choice(['write', 'fsync', 'replace']),
                draw.randrange(6),
            )
        else:
            run = start(config, str(killed), resume)
            run.join(draw.uniform(0.2, 0.5) * seconds)
            if run.is_alive():
                os.kill(run.pid or 0, signal.SIGKILL)
        run.join(300)
        count += run.exitcode == -signal.SIGKILL
        check_files(killed)
        if run.exitcode == 0:  # it finished before it was killed: start over
            assert_equal(weights(killed), weights(whole))
            killed = tmp_path / f'killed{count}'
        else:
            assert run.exitcode == -signal.SIGKILL
    run = start(config, str(killed), (killed / 'last_checkpoint').exists())
    run.join(300)
    assert run.exitcode == 0
    assert_equal(weights(killed), weights(whole))
    tasks = [folder / 'last.task.safetensors' for folder in (killed, whole)]
    assert tasks[0].read_bytes() == tasks[1].read_bytes()


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
