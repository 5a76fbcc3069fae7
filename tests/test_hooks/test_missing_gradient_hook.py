"""Parameters without a gradient are named once, after the first backward pass."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from old_torch import needs_torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmqadapter.hooks import MissingGradientHook
from mmqadapter.hooks.missing_gradient_hook import compressed, without_gradient

TinyModel: Any = MODELS.get('TinyModel')  # of conftest.py


@MODELS.register_module(force=True)
class Unused(TinyModel):
    """A model with two layers, the first of which only odd steps reach."""

    def __init__(self, skipped: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unused = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.skipped = skipped
        self.steps = 0

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        if mode == 'loss':
            self.steps += 1
        if self.skipped and self.steps % 2:
            return super().forward(inputs, mode)
        return super().forward(checkpoint(self.unused, inputs, use_reentrant=False), mode)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts of all warnings that are logged."""
    texts: list[str] = []
    monkeypatch.setattr(
        logging.Logger, 'warning', lambda self, text, *args, **kwargs: texts.append(str(text))
    )
    return texts


def ours(warnings: list[str]) -> list[str]:
    return [text for text in warnings if 'gradient' in text and 'first step' in text]


def with_hook(cfg: Any, **model: Any) -> Any:
    cfg.model = dict(type='Unused', **model)
    cfg.custom_hooks = [dict(type='mmqadapter.MissingGradientHook')]
    return cfg


def test_what_the_first_step_does_not_reach_is_named(tiny, train, warnings) -> None:
    runner = train(with_hook(tiny()))
    assert ours(warnings) == [
        'no gradient reached unused.0 (2 tensors), unused.1 (2 tensors) in the first step, so it '
        'does not train. For DDP, set find_unused_parameters=True.'
    ]
    # Later steps run mmengine's own code.
    assert runner.optim_wrapper.backward.__func__ is OptimWrapper.backward


def test_the_words_for_a_map_that_no_head_reads(tiny, train, warnings, monkeypatch) -> None:
    cfg = with_hook(tiny())
    monkeypatch.setattr(Unused, 'forward', lambda self, inputs, mode: {
        'loss': self.head(self.backbone.trunk(inputs)).square().mean()})  # fmt: skip
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    train(cfg)
    (text,) = ours(warnings)
    assert text.startswith('no gradient reached backbone.adapters (2 tensors), unused.0 ')
    assert 'leave maps that no head reads out of out_indices of the backbone, or set' in text


def test_nothing_is_said_where_all_trains(tiny, train, warnings) -> None:
    train(with_hook(tiny(), skipped=False))
    assert not ours(warnings)


def test_the_passes_of_an_update_count_together(tiny, train, warnings) -> None:
    cfg = with_hook(tiny())
    cfg.optim_wrapper.accumulative_counts = 2
    train(cfg)
    assert not ours(warnings)
    cfg = with_hook(tiny('three'))
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.model.type = 'TinyUnread'
    train(cfg)
    assert len(ours(warnings)) == 1


@MODELS.register_module(force=True)
class TinyUnread(TinyModel):
    """A model with a layer that no step reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = nn.Linear(4, 4)


def test_a_resumed_run_is_checked_as_well(tiny, train, warnings) -> None:
    cfg = with_hook(tiny())
    cfg.model.type = 'TinyUnread'
    train(cfg)
    warnings.clear()
    again = with_hook(tiny('again'))
    again.model.type = 'TinyUnread'
    train(again, tiny().work_dir + '/iter_3.pth')
    assert len(ours(warnings)) == 1


@needs_torch(2, 3, 'a loss scaler on the CPU')
def test_a_step_that_the_loss_scaler_skips_counts(tiny, warnings) -> None:
    model = MODELS.build(dict(type='TinyUnread'))
    wrapper: Any = AmpOptimWrapper.__new__(AmpOptimWrapper)  # its own constructor asks for a GPU
    OptimWrapper.__init__(wrapper, torch.optim.SGD(model.parameters(), lr=1.0))
    wrapper.loss_scaler = torch.amp.GradScaler('cpu')
    wrapper._scale_update_param = None
    runner: Any = type('Runner', (), {})()
    runner.model, runner.optim_wrapper = model, wrapper
    runner.logger = logging.getLogger('tests')
    MissingGradientHook().before_train(runner)
    before = model.head.weight.clone()
    wrapper.update_params(model(torch.ones(2, 4), mode='loss')['loss'] * float('inf'))
    assert torch.equal(model.head.weight, before) and len(ours(warnings)) == 1
    wrapper.update_params(model(torch.ones(2, 4), mode='loss')['loss'])
    assert len(ours(warnings)) == 1


def test_several_optimizers_are_not_checked() -> None:
    model = nn.Linear(2, 2)
    runner: Any = type('Runner', (), {})()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
    runner.model, runner.optim_wrapper = model, OptimWrapperDict(one=wrapper)
    MissingGradientHook().before_train(runner)
    assert 'backward' not in vars(runner.optim_wrapper) and 'backward' not in vars(wrapper)


def test_an_empty_shard_misses_nothing() -> None:
    model = nn.Linear(2, 2)
    model.weight = nn.Parameter(torch.empty(0))
    assert without_gradient(model) == ['bias']


def test_a_long_list_is_cut() -> None:
    names = [f'neck.{n}.{kind}' for n in range(7) for kind in ('weight', 'bias')]
    assert compressed(names) == (
        'neck.0 (2 tensors), neck.1 (2 tensors), neck.2 (2 tensors), neck.3 (2 tensors) '
        'and 3 more modules'
    )
    assert compressed(['scale', 'neck.weight']) == 'scale, neck.weight'
