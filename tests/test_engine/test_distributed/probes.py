"""Hooks that save what each rank holds; the launched processes import this file."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmqadapter.utils.random_state import get_random_state, set_random_state


@HOOKS.register_module(force=True)
class StateProbe(Hook):
    """Hook that saves the model of every rank before and after training."""

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        write(runner, 'start', state(runner))

    def after_train(self, runner: Runner) -> None:
        write(runner, 'end', state(runner))


@HOOKS.register_module(force=True)
class LossProbe(Hook):
    """Hook that saves the losses of each rank's own steps."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.losses.append(float(outputs['loss']))

    def after_train(self, runner: Runner) -> None:
        write(runner, 'losses', dict(losses=torch.tensor(self.losses)))


@HOOKS.register_module(force=True)
class LastStep(Hook):
    """Hook that kills one rank before a step, as a machine that is out of memory does."""

    def __init__(self, rank: int, step: int) -> None:
        self.rank, self.step = rank, step

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if (get_rank(), runner.iter) == (self.rank, self.step):
            Path(runner.work_dir, 'killed').write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module(force=True)
class GradientProbe(Hook):
    """Hook that saves the local and the synchronized gradients of the first batch.

    All passes draw the same random numbers; a second local pass shows that they really do.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter:
            return
        start = get_random_state()
        with runner.model.no_sync():
            local = gradients(runner, data_batch, start)
            again = gradients(runner, data_batch, start)
        synchronized = gradients(runner, data_batch, start)
        set_random_state(start)
        write(runner, 'gradients', dict(local=local, again=again, synchronized=synchronized))


def gradients(runner: Runner, batch: Any, random_state: dict) -> dict[str, torch.Tensor]:
    """Return the gradients of one batch by parameter name; those of the model are cleared."""
    set_random_state(random_state)
    model = runner.model
    losses = model(**model.module.data_preprocessor(batch, training=True), mode='loss')
    model.module.parse_losses(losses)[0].backward()
    trained = ((name, p) for name, p in model.module.named_parameters() if p.requires_grad)
    by_name = {name: parameter.grad.clone() for name, parameter in trained}
    model.zero_grad()
    return by_name


def state(runner: Runner) -> dict[str, torch.Tensor]:
    """Return the whole state by the names of the unwrapped model; under FSDP only on rank 0."""
    state = runner.model.state_dict()
    return {name.removeprefix('module.'): tensor for name, tensor in state.items()}


def write(runner: Runner, what: str, content: dict) -> None:
    torch.save(content, Path(runner.work_dir, f'{what}_rank{get_rank()}.pth'))


@HOOKS.register_module(force=True)
class WithoutMissingGradientHook(Hook):
    """Hook that takes back what MissingGradientHook did before training."""

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        del runner.optim_wrapper.backward
