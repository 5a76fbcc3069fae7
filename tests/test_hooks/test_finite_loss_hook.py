"""A loss or weight that is NaN or inf stops the run before a file is written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from old_torch import needs_torch
from torch import nn

from mmqadapter.hooks import FiniteLossHook
from mmqadapter.hooks.finite_loss_hook import first_not_finite
from mmqadapter.quant import GaussianQuantizer, parametrize_weight

NAN, INF = float('nan'), float('inf')


def runner(model: nn.Module | None = None, scaled: bool = False) -> Any:
    wrapper: Any = object()
    if scaled:
        from mmengine.optim import AmpOptimWrapper

        wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)  # its own constructor asks for a GPU
        wrapper.loss_scaler = torch.amp.GradScaler('cpu')
    return SimpleNamespace(model=model or nn.Linear(2, 2), optim_wrapper=wrapper, iter=6)


def step(hook: FiniteLossHook, runner: Any, **losses: float) -> None:
    hook.after_train_iter(runner, 0, None, {n: torch.tensor(v) for n, v in losses.items()})


def test_finite_losses_pass() -> None:
    hook = FiniteLossHook()
    step(hook, runner(), loss=1.0, loss_mask=1.0, accuracy=NAN)
    step(hook, runner(), accuracy=1.0)
    hook.after_train_iter(runner(), 0, None, None)


@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_the_loss_that_is_not_finite_is_named(value: float) -> None:
    text = rf'in iteration 7 loss_mask is {value}; no weight holds NaN or inf\. Lower the'
    with pytest.raises(ValueError, match=text):
        step(FiniteLossHook(), runner(), loss=value, loss_box=1.0, loss_mask=value)
    with pytest.raises(ValueError, match=f'in iteration 7 loss is {value}'):
        step(FiniteLossHook(), runner(), loss=value)


def test_the_weight_that_is_not_finite_is_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    nn.init.constant_(model[1].bias, NAN)
    with pytest.raises(ValueError, match=r"'1.bias' is the first weight with NaN or inf"):
        step(FiniteLossHook(), runner(model), loss=NAN)


def test_a_quantized_weight_that_is_constant_is_named_before_training() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(4, 4))
    parametrize_weight(model[1], 'weight', GaussianQuantizer(1))
    FiniteLossHook().before_train(runner(model))
    nn.init.zeros_(model[1].parametrizations['weight'].original)
    with pytest.raises(ValueError, match=r'^1: a weight of shape \(4, 4\) cannot be quantized'):
        FiniteLossHook().before_train(runner(model))


@needs_torch(2, 3, 'a loss scaler on the CPU')
def test_a_loss_scaler_may_skip_some_steps() -> None:
    hook, run = FiniteLossHook(patience=3), runner(scaled=True)
    for losses in (NAN, NAN, 1.0, INF, NAN):
        step(hook, run, loss=losses)
    with pytest.raises(ValueError, match='3 times in a row, although the loss is scaled'):
        step(hook, run, loss=NAN)


def test_weights_are_checked_before_files_are_written() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    hook, run = FiniteLossHook(), runner(model)
    for ok in (hook.before_val, hook.after_train):
        ok(run)
    model[1].running_var[0] = INF
    for check in (hook.before_val, hook.after_train):
        with pytest.raises(ValueError, match=r"after iteration 6 the weight '1.running_var' holds"):
            check(run)
    with pytest.raises(ValueError, match='after iteration 7'):
        hook.before_save_checkpoint(run, {'meta': {'iter': 7}})


def test_frozen_weights_are_not_checked() -> None:
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    nn.init.constant_(model[0].weight, NAN)
    assert first_not_finite(model) is None
    nn.init.constant_(model[1].weight, INF)
    assert first_not_finite(model) == '1.weight'


def test_patience_has_to_be_positive() -> None:
    with pytest.raises(ValueError, match='patience=0 is invalid: .*; use 1 to stop at the first'):
        FiniteLossHook(patience=0)
