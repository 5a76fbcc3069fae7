"""One training as a process of its own, whose outcome is a result.json."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmqadapter.studies.sweep.config_equivalence import (
    equivalent_measurement,
    equivalent_training,
)
from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.outcome import Outcome, collect, is_finished, read_result
from mmqadapter.studies.sweep.plan import Sweep
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.training import SEED, TIME, Training, training_config
from mmqadapter.utils.atomic import atomic_write

# The summary measures memory in the second step and leaves five out of the clock.
STEPS_TO_MEASURE = 10


class Trainer:
    """Trains, or reads the result of a training that is done.

    Each has a folder: ``config.py`` (complete), ``console.log``, ``work_dir/`` and, once
    it has ended well, ``result.json``.

    Args:
        sweep: The sweep.
        folder: Of the folders.
        script: What Python runs to train: a file, or ``-m`` and a module.
    """

    def __init__(self, sweep: Sweep, folder: Path, script: Sequence[str]) -> None:
        self._sweep, self._folder, self._script = sweep, folder, script

    def __call__(self, training: Training, share: ResourceSlot) -> Outcome:
        """Outcome of a training on a share of the machine; one that fails raises nothing."""
        folder = (self._folder / training.name).resolve()
        log = folder / 'console.log'
        try:
            return Outcome(training, self._result(training, folder, share), log=log)
        except Exception as error:  # whatever it is, it must not stop the others
            reason = str(error) if isinstance(error, ValueError) else repr(error)
            return Outcome(training, None, reason, log)

    def _result(self, training: Training, folder: Path, share: ResourceSlot) -> dict[str, Any]:
        config = training_config(self._sweep, training).pretty_text
        with _alone_in(folder) as lock:
            path = folder / 'result.json'
            same = _same(training, folder, config)
            if path.is_file():
                _require_same(same, folder)
                return read_result(path)
            if not same:
                shutil.rmtree(folder / 'work_dir', ignore_errors=True)
            if not is_finished(folder / 'work_dir'):
                atomic_write(folder / 'config.py', config.encode())
                self._train(training, folder, share, lock)
            result = collect(folder / 'work_dir', self._sweep.metric, training)
            atomic_write(path, json.dumps(result, indent=1).encode())
        _tidy(training, folder / 'work_dir')
        return result

    def _train(self, training: Training, folder: Path, share: ResourceSlot, lock: int) -> None:
        work = folder / 'work_dir'
        left = training.length.count - _done(work)
        goes_on = 0 < left < training.length.count and left >= _needed(training.length)
        if not goes_on:
            shutil.rmtree(work, ignore_errors=True)
        command = [*self._launcher(), folder / 'config.py', '--work-dir', work]
        words = [*map(str, command), *(['--resume'] if goes_on else [])]
        variables = {**os.environ, **share.variables(self._sweep.processes)}
        with open(folder / 'console.log', 'a' if goes_on else 'w') as log:
            # The process holds the lock as well: should this one be killed, that one may train on,
            # and the next sweep waits for it.
            code = subprocess.run(
                words, stdout=log, stderr=log, env=variables, pass_fds=(lock,)
            ).returncode
        if code or not is_finished(work):
            raise ValueError(f'the training ended with exit status {code}')

    def _launcher(self) -> list[Any]:
        if self._sweep.processes == 1:
            return [sys.executable, *self._script]
        torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
        count = f'--nproc_per_node={self._sweep.processes}'
        return [*torchrun, count, *self._script, '--launcher', 'pytorch']


@contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """Wait until no other process trains in a folder; gives the descriptor of the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _same(training: Training, folder: Path, config: str) -> bool:
    """Whether what is in ``folder`` may stand for this training; of a timed one all counts."""
    path = folder / 'config.py'
    if not path.is_file():
        return False
    equivalent = equivalent_measurement if training.purpose == TIME else equivalent_training
    return equivalent(path.read_text(encoding='utf-8'), config)


def _require_same(same: bool, folder: Path) -> None:
    if not same:
        raise ValueError(
            'it was trained with another config than the sweep now asks for; remove '
            f'{str(folder)!r} to train again, or give another --out'
        )


def _done(work: Path) -> int:
    """Iterations or epochs of the last complete checkpoint; 0 without one."""
    pointer = work / 'last_checkpoint'
    name = pointer.read_text().strip() if pointer.is_file() else ''
    found = re.search(r'(?:iter|epoch)_(\d+)\.pth$', name)
    return int(found.group(1)) if found else 0


def _needed(length: Length) -> int:
    """The least that has to be left, so that a resumed training still measures what it costs."""
    return 1 if length.by_epoch else STEPS_TO_MEASURE


def _tidy(training: Training, work: Path) -> None:
    """Drop the checkpoints of a finished training that is not itself reported."""
    if training.purpose != SEED:
        for path in work.glob('*.pth'):
            path.unlink()
