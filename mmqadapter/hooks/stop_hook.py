"""Stopping of a training by Ctrl-C or SIGTERM, between two steps and on all ranks at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import FlexibleRunner, Runner

from mmqadapter.registry import HOOKS

NAMES = {signal.SIGINT: 'Ctrl-C', signal.SIGTERM: 'SIGTERM'}
# torchrun passes on the SIGINT that a terminal has already sent to each process.
ECHO_SECONDS = 1.0


class TrainingStopped(BaseException):  # noqa: N818  (a request, not an error)
    """Raised between two steps, or in the first one, of a training that a signal asked to stop.

    No ``except Exception`` may take it for an error of the data or of the model.

    Args:
        number: Number of the signal.
        trained: Whether a step of this run is finished.
    """

    def __init__(self, number: int, trained: bool = True) -> None:
        super().__init__(f'stopped by {NAMES[signal.Signals(number)]}')
        self.number = number
        self.trained = trained


@HOOKS.register_module()
class StopHook(Hook):
    """Hook that ends a training by :class:`TrainingStopped` soon after Ctrl-C or SIGTERM.

    It raises between two steps, so that the state can be saved; ranks agree on the step, and a
    single process also stops within a validation. A second Ctrl-C ends the process at once. Before
    the first step is finished, which may take long, nothing can be lost: it raises where it is.
    Whoever calls :meth:`register` catches the exception and calls :meth:`restore`.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._requested = 0
        self.trained = False
        self._since = 0.0
        self._is_main = True
        self._group: Any = None
        self._world_size = 1
        self._previous: dict[int, Any] = {}

    def register(self, runner: Runner | FlexibleRunner) -> None:
        """Register the hook, and what tells it that the first step is finished."""
        runner.register_hook(self)
        runner.register_hook(_FirstStepHook(self))

    def before_train(self, runner: Runner) -> None:
        """Take the signals over, also in the data workers, which start later."""
        rank, self._world_size = get_dist_info()
        self._is_main = rank == 0
        if self._world_size > 1:  # a group of CPU tensors, so that no step waits for a GPU
            self._group = torch.distributed.new_group(backend='gloo')
        for loop in filter(None, (runner.train_loop, runner.val_loop)):
            init = loop.dataloader.worker_init_fn
            loop.dataloader.worker_init_fn = partial(_shield_worker, init)
        for number in NAMES:
            self._previous[number] = signal.signal(number, self._handle)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Stop here if any rank was asked to.

        Raises:
            TrainingStopped: A signal came.
        """
        number = torch.tensor([self._requested])
        if self._world_size > 1:
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX, group=self._group)
        if number.item():
            raise TrainingStopped(int(number))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop within a validation, which a resumed run repeats.

        With several ranks, which could not agree here, or with averaged weights, which validation
        swaps in, the validation ends first.

        Raises:
            TrainingStopped: A signal came.
        """
        averaged = any(isinstance(hook, EMAHook) for hook in runner.hooks)
        if self._requested and self._world_size == 1 and not averaged:
            raise TrainingStopped(self._requested)

    def restore(self) -> None:
        """Give the signals back to the handlers they had before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.trained:
            raise TrainingStopped(number, trained=False)
        if not self._requested:
            self._requested, self._since = number, time.monotonic()
            if self._is_main:  # print is not safe here: the signal may interrupt another print
                name = NAMES[signal.Signals(number)]
                message = f'\n{name}: stopping after this step; Ctrl-C again ends at once.\n'
                os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, message.encode())
        elif number == signal.SIGINT and time.monotonic() - self._since > ECHO_SECONDS:
            raise KeyboardInterrupt


class _FirstStepHook(Hook):
    """Hook that tells a :class:`StopHook` of the first step, before any other hook acts on it."""

    priority = 'HIGHEST'

    def __init__(self, stop: StopHook) -> None:
        self._stop = stop

    def after_train_iter(self, *_: Any, **__: Any) -> None:
        """Let the training stop only between two steps from now on."""
        self._stop.trained = True


def end_workers() -> None:
    """End the data workers of this process, which would first load the batch that they are at."""
    for worker in multiprocessing.active_children():
        worker.terminate()  # a killed one makes PyTorch raise an error


def _shield_worker(init: Callable[[int], None] | None, worker: int) -> None:
    """Initialize a data worker that outlives a stop signal sent to all processes of a job.

    The step that the training is in needs its data. Without this, PyTorch ends a worker at SIGTERM
    and then raises an error in the training, within a step.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    if init is not None:
        init(worker)


def _end_with_parent(parent: int) -> None:
    """End this process at a SIGTERM from its parent, and ignore those from others."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
