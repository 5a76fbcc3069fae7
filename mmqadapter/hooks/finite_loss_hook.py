"""Stops a training whose loss or trained weights become NaN or inf."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mmqadapter.registry import HOOKS
from mmqadapter.utils.model_wrapping import unwrap_model

REMEDY = (
    'Lower the learning rate, clip gradients (optim_wrapper.clip_grad), look for broken labels '
    '(tools/check_data.py), and resume from the last checkpoint, which is sound.'
)


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Checks the loss after each step, and all that trains before a checkpoint or task file.

    It runs before files of that step are written, so none with NaN or inf comes to be. A loss
    scaler (``AmpOptimWrapper``) leaves out the steps whose gradients overflow: there single losses
    may be NaN or inf, as long as the weights stay finite.

    Args:
        patience: So many bad losses one after the other stop a training with a loss scaler.

    Raises:
        ValueError: ``patience`` is less than 1.
    """

    priority = 'HIGH'  # before files are written; behind the logs of mmengine, which wait for a GPU

    def __init__(self, patience: int = 50) -> None:
        if patience < 1:
            raise ValueError(f'patience={patience} is too small; 1 stops at the first bad loss.')
        self.patience = patience
        self._bad = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Check the losses of this step.

        Raises:
            ValueError: One is NaN or inf, and no loss scaler left the step out.
        """
        bad = _bad_losses(outputs or {})
        self._bad = self._bad + 1 if bad else 0
        scaled = _scales(runner)
        if not bad or (scaled and self._bad < self.patience):
            return
        lasting = f', {self._bad} times in a row, although the loss is scaled' if scaled else ''
        broken = first_not_finite(unwrap_model(runner.model))
        weights = f'{broken!r} is the first weight that broke' if broken else 'no weight broke'
        raise ValueError(
            f'in iteration {runner.iter + 1} {", ".join(bad)}{lasting}; {weights}. {REMEDY}'
        )

    def before_val(self, runner: Runner) -> None:
        """Check the weights, since the best checkpoint and task file come from validation."""
        _check_weights(runner, runner.iter)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights."""
        _check_weights(runner, checkpoint['meta']['iter'])

    def after_train(self, runner: Runner) -> None:
        """Check the weights of the last step."""
        _check_weights(runner, runner.iter)


def _check_weights(runner: Runner, iteration: int) -> None:
    if broken := first_not_finite(unwrap_model(runner.model)):
        raise ValueError(
            f'after iteration {iteration} the weight {broken!r} holds NaN or inf, so nothing of '
            f'this state is saved. {REMEDY}'
        )


@torch.no_grad()
def first_not_finite(model: nn.Module) -> str | None:
    """Name of the first trained parameter, or statistic of a batch norm, with NaN or inf."""
    state = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    bad = (name for name, p in chain(state, _statistics(model)) if not bool(p.isfinite().all()))
    return next(bad, None)


def _statistics(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What batch norms gather; a loss scaler does not protect it."""
    for name, module in model.named_modules():
        if isinstance(module, _NormBase):
            yield from module.named_buffers(name)


def _bad_losses(outputs: Mapping[str, Any]) -> list[str]:
    """What is wrong with the losses of a step; the sum tells whether something is."""
    if math.isfinite(_number(outputs.get('loss', 0.0))):
        return []
    values = {name: _number(value) for name, value in outputs.items() if 'loss' in name}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    return [f'{name} is {values[name]}' for name in bad if name != 'loss' or bad == ['loss']]


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _scales(runner: Runner) -> bool:
    wrapper = runner.optim_wrapper
    return isinstance(wrapper, AmpOptimWrapper) and wrapper.loss_scaler.is_enabled()
