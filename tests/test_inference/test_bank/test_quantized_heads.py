"""A bank of tasks with float necks and heads, quantized after training, or trained quantized."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from quantized_models import PATTERNS, Net, make, out, train
from torch import Tensor

from mmqadapter import load_task, save_task
from mmqadapter.inference.bank import TaskBank
from mmqadapter.quant import parametrized_weights
from mmqadapter.taskfile.head_bits import layer_bits, train_quantized

KINDS = ('float', 'after', 'trained')


@pytest.fixture
def tasks(tiny_timm_vit: Callable[..., dict], tmp_path: Path) -> dict[str, Path]:
    """Paths of a task file of each kind, all for one trunk."""
    paths = {kind: tmp_path / f'{kind}.task.safetensors' for kind in KINDS}
    for number, (kind, path) in enumerate(paths.items(), start=1):
        model = make(tiny_timm_vit)
        if kind == 'trained':
            train_quantized(model, layer_bits(model, PATTERNS))
        save_task(train(model, 0.01 * number), path, head_bits=4 if kind == 'after' else 32)
    return paths


@pytest.fixture
def expected(tiny_timm_vit: Callable[..., dict], tasks: dict[str, Path]) -> dict[str, Tensor]:
    """Predictions of new models, by kind."""
    predictions = {}
    for kind, path in tasks.items():
        model = make(tiny_timm_vit)
        load_task(model, path)
        predictions[kind] = out(model)
    return predictions


def filled(model: Net, tasks: dict[str, Path]) -> TaskBank:
    bank = TaskBank(model)
    for kind, path in tasks.items():
        bank.register(kind, path)
    return bank


@pytest.mark.parametrize('bits', [None, 8])
def test_each_predicts_as_a_fresh_model(
    tiny_timm_vit: Callable[..., dict],
    tasks: dict[str, Path],
    expected: dict[str, Tensor],
    bits: int | None,
) -> None:
    model = make(tiny_timm_vit)
    if bits is not None:  # as after loading a checkpoint that was trained with these bits
        train_quantized(model, layer_bits(model, bits))
    before = out(model)
    bank = filled(model, tasks)
    torch.testing.assert_close(out(model), before)
    assert not list(parametrized_weights(model))
    for kind in (*KINDS, *KINDS[::-1], 'trained'):
        bank.use(kind)
        assert torch.equal(out(model), expected[kind])
    twin = copy.deepcopy(bank)
    twin.use('after')
    assert torch.equal(out(twin.model), expected['after'])
    assert torch.equal(out(model), expected['trained'])


def test_it_saves_as_the_task_in_use(
    tiny_timm_vit: Callable[..., dict], tasks: dict[str, Path], tmp_path: Path
) -> None:
    bank = filled(make(tiny_timm_vit), tasks)
    for kind in (*KINDS, *KINDS[::-1]):
        bank.use(kind)
        save_task(bank.model, tmp_path / 'again')
        assert (tmp_path / 'again').read_bytes() == tasks[kind].read_bytes()


def test_a_task_takes_its_float_size_and_its_codes(
    tiny_timm_vit: Callable[..., dict], tasks: dict[str, Path]
) -> None:
    bank = filled(make(tiny_timm_vit), tasks)
    weights, channels = 16 * 8 * 4 + 8 * 8 * 9 + 8 * 8 + 8 * 5, 8 + 8 + 8 + 5
    assert bank.nbytes('after') - bank.nbytes('float') == weights * 4 // 8 + 4 * channels
