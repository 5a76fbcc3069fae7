"""Execution of a training as a separate process whose result is stored in a result.json."""

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
from mmqadapter.studies.sweep.length import Length, validation_count
from mmqadapter.studies.sweep.outcome import (
    Outcome,
    collect,
    is_finished,
    read_result,
    validated,
)
from mmqadapter.studies.sweep.plan import Sweep
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.training import (
    SEED,
    TIME,
    Training,
    training_config,
    validations_of,
)
from mmqadapter.utils.atomic import atomic_write

# The summary hook measures memory in the second step and does not time the first five.
STEPS_TO_MEASURE = 10


class Trainer:
    """Function object that runs a training, or reads the result of a finished one.

    Each training has a folder with ``config.py`` (complete), ``console.log``, ``work_dir/`` and,
    once it has succeeded, ``result.json``.

    Args:
        sweep: Plan of the sweep.
        folder: Parent of the trainings' folders.
        script: Arguments of Python that start the training script: a file, or ``-m`` and a module.
    """

    def __init__(self, sweep: Sweep, folder: Path, script: Sequence[str]) -> None:
        self._sweep, self._folder, self._script = sweep, folder, script

    def __call__(self, training: Training, slot: ResourceSlot) -> Outcome:
        """Run a training in a slot and return its outcome; a failure is returned, not raised."""
        folder = (self._folder / training.name).resolve()
        log = folder / 'console.log'
        try:
            return Outcome(training, self._result(training, folder, slot), log=log)
        except Exception as error:  # no failure may stop the other trainings
            reason = str(error) if isinstance(error, ValueError) else repr(error)
            return Outcome(training, None, reason, log)

    def _result(self, training: Training, folder: Path, slot: ResourceSlot) -> dict[str, Any]:
        config = training_config(self._sweep, training).pretty_text
        with _lock(folder) as lock:
            path = folder / 'result.json'
            matches = _matches_config(training, folder, config)
            if path.is_file():
                _require_match(matches, folder)
                return read_result(path)
            if not matches:
                shutil.rmtree(folder / 'work_dir', ignore_errors=True)
            if not self._has_ended(training, folder / 'work_dir'):
                atomic_write(folder / 'config.py', config.encode())
                self._train(training, folder, slot, lock)
            result = collect(folder / 'work_dir', self._sweep.metric, training)
            atomic_write(path, json.dumps(result, indent=1).encode())
        _remove_checkpoints(training, folder / 'work_dir')
        return result

    def _has_ended(self, training: Training, work: Path) -> bool:
        """Return whether a training ran to its end; one that a signal stopped has a summary too.

        The signal may have come in a validation, the last one as well.
        """
        done, length = _completed(work), training.length
        expected = validation_count(length, validations_of(self._sweep, training))
        return is_finished(work) and done in (0, length.count) and validated(work) >= expected

    def _train(self, training: Training, folder: Path, slot: ResourceSlot, lock: int) -> None:
        work = folder / 'work_dir'
        remaining = training.length.count - _completed(work)
        measured = is_finished(work) and remaining == 0  # only a validation is missing
        resume = measured or _minimum_rest(training.length) <= remaining < training.length.count
        if not resume:
            shutil.rmtree(work, ignore_errors=True)
        command = [*self._launcher(), folder / 'config.py', '--work-dir', work]
        arguments = [*map(str, command), *(['--resume'] if resume else [])]
        variables = {**os.environ, **slot.variables(self._sweep.processes)}
        with open(folder / 'console.log', 'a' if resume else 'w') as log:
            # The child inherits the lock: if this process is killed, the child may train on and the
            # next sweep waits for it.
            status = subprocess.run(
                arguments, stdout=log, stderr=log, env=variables, pass_fds=(lock,)
            ).returncode
        if status or not is_finished(work):
            raise ValueError(f'the training ended with exit status {status}')

    def _launcher(self) -> list[Any]:
        if self._sweep.processes == 1:
            return [sys.executable, *self._script]
        torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
        count = f'--nproc_per_node={self._sweep.processes}'
        return [*torchrun, count, *self._script, '--launcher', 'pytorch']


@contextmanager
def _lock(folder: Path) -> Iterator[int]:
    """Wait for the exclusive lock of a folder and yield its file descriptor."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _matches_config(training: Training, folder: Path, config: str) -> bool:
    """Return whether the training in ``folder`` is this one; a timed one needs an equal config."""
    path = folder / 'config.py'
    if not path.is_file():
        return False
    equivalent = equivalent_measurement if training.purpose == TIME else equivalent_training
    return equivalent(path.read_text(encoding='utf-8'), config)


def _require_match(matches: bool, folder: Path) -> None:
    if not matches:
        raise ValueError(
            'the stored result is of another config than that of the sweep; remove '
            f'{str(folder)!r} to train again, or use another --out'
        )


def _completed(work: Path) -> int:
    """Return the iterations or epochs of the last complete checkpoint; 0 without one."""
    pointer = work / 'last_checkpoint'
    name = pointer.read_text().strip() if pointer.is_file() else ''
    match = re.search(r'(?:iter|epoch)_(\d+)\.pth$', name)
    return int(match.group(1)) if match else 0


def _minimum_rest(length: Length) -> int:
    """Return the minimum that a resumed training has to run to measure its memory and time."""
    return 1 if length.by_epoch else STEPS_TO_MEASURE


def _remove_checkpoints(training: Training, work: Path) -> None:
    """Remove the checkpoints of a finished training that is not reported itself."""
    if training.purpose != SEED:
        for path in work.glob('*.pth'):
            path.unlink()
