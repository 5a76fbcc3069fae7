"""Check that the loss and the trained weights stay finite."""

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

from mmqadapter.quant import check_quantized_weights
from mmqadapter.registry import HOOKS
from mmqadapter.utils.model_wrapping import unwrap_model
from mmqadapter.utils.sharding import is_sharded

REMEDY = (
    'Lower the learning rate, clip gradients (optim_wrapper.clip_grad), look for wrong labels '
    '(mmqadapter check-data), and resume from the last checkpoint, which is sound.'
)


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Hook that stops a training whose loss or trained weights become NaN or inf.

    It checks the loss after each step, all trained weights before validation, before a checkpoint
    and after training, and before training that quantized weights vary. It runs before the files
    of a step are written, so no file ever holds NaN or inf.

    A loss scaler (``AmpOptimWrapper``) skips steps whose gradients overflow. With it, single
    losses may be NaN or inf as long as the weights stay finite.

    Args:
        patience: Number of successive bad losses that stop a training with a loss scaler.

    Raises:
        ValueError: ``patience`` is less than 1.
    """

    # Before files are written, but after mmengine's RuntimeInfoHook: that one already waits for the
    # GPU to log the loss, so reading it here adds no wait.
    priority = 'HIGH'

    def __init__(self, patience: int = 50) -> None:
        if patience < 1:
            raise ValueError(
                f'patience={patience} is invalid: expected a number of losses; use 1 to stop at '
                'the first bad one.'
            )
        self.patience = patience
        self._bad_steps = 0

    def before_train(self, runner: Runner) -> None:
        """Check that the quantized weights can be quantized; in a step they would become NaN.

        Raises:
            ValueError: A weight is constant, or holds NaN or inf.
        """
        if not is_sharded(runner.model):
            check_quantized_weights(unwrap_model(runner.model))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Check the losses of this step.

        Raises:
            ValueError: A loss is NaN or inf, and no loss scaler skipped the step.
        """
        messages = _bad_losses(outputs or {})
        self._bad_steps = self._bad_steps + 1 if messages else 0
        scaled = _has_loss_scaler(runner)
        if not messages or (scaled and self._bad_steps < self.patience):
            return
        repeated = f', {self._bad_steps} times in a row, although the loss is scaled'
        weight = first_not_finite(unwrap_model(runner.model))
        cause = 'no weight holds NaN or inf'
        if weight is not None:
            cause = f'{weight!r} is the first weight with NaN or inf'
        raise ValueError(
            f'in iteration {runner.iter + 1} {", ".join(messages)}{repeated if scaled else ""}; '
            f'{cause}. {REMEDY}'
        )

    def before_val(self, runner: Runner) -> None:
        """Check the weights, since validation leads to the best checkpoint and task file."""
        _check_weights(runner, runner.iter)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights before they are saved."""
        _check_weights(runner, checkpoint['meta']['iter'])

    def after_train(self, runner: Runner) -> None:
        """Check the weights of the last step."""
        _check_weights(runner, runner.iter)


def _check_weights(runner: Runner, iteration: int) -> None:
    if weight := first_not_finite(unwrap_model(runner.model)):
        raise ValueError(
            f'after iteration {iteration} the weight {weight!r} holds NaN or inf, so nothing of '
            f'this state is saved. {REMEDY}'
        )


@torch.no_grad()
def first_not_finite(model: nn.Module) -> str | None:
    """Return the name of the first trained parameter or batch norm statistic with NaN or inf."""
    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    tensors = chain(trained, _batch_norm_statistics(model))
    return next((name for name, tensor in tensors if not bool(tensor.isfinite().all())), None)


def _batch_norm_statistics(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the running statistics of batch norms, which a loss scaler does not protect."""
    for name, module in model.named_modules():
        if isinstance(module, _NormBase):
            yield from module.named_buffers(name)


def _bad_losses(outputs: Mapping[str, Any]) -> list[str]:
    """Return a message for each loss of a step that is not finite; none if their sum is finite."""
    if math.isfinite(_as_float(outputs.get('loss', 0.0))):
        return []
    values = {name: _as_float(value) for name, value in outputs.items() if 'loss' in name}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    return [f'{name} is {values[name]}' for name in bad if name != 'loss' or bad == ['loss']]


def _as_float(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _has_loss_scaler(runner: Runner) -> bool:
    wrapper = runner.optim_wrapper
    return isinstance(wrapper, AmpOptimWrapper) and wrapper.loss_scaler.is_enabled()
