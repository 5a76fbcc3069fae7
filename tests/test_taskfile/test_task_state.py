"""The view of a model's task: what belongs to it, and that it is built once per operation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from quantized_models import BITS_OF, PATTERNS, Net
from torch import nn

from mmqadapter import load_task, save_task
from mmqadapter.taskfile.head_bits import layer_bits, train_quantized
from mmqadapter.taskfile.task_state import TaskState, unwrap_model

Build = Callable[..., Net]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[TaskState]:
    """Every TaskState that is made from now on."""
    states: list[TaskState] = []
    init: Any = TaskState.__init__

    def count(state: TaskState, *args: Any, **kwargs: Any) -> None:
        init(state, *args, **kwargs)
        states.append(state)

    monkeypatch.setattr(TaskState, '__init__', count)
    return states


@pytest.mark.parametrize('head_bits', [32, 16, 4, PATTERNS], ids=str)
@pytest.mark.parametrize('trainable', [False, True])
def test_one_state_per_save_and_one_per_load(
    build_net: Build, path: Path, built: list[TaskState], head_bits: Any, trainable: bool
) -> None:
    model, fresh = build_net(), build_net()
    save_task(model, path, head_bits=head_bits)
    assert [state.model for state in built] == [model]
    built.clear()
    load_task(fresh, path, trainable)
    assert [state.model for state in built] == [fresh]


def test_one_state_to_choose_bits_and_one_to_train_with_them(
    build_net: Build, built: list[TaskState]
) -> None:
    model = build_net()
    bits = layer_bits(model, PATTERNS)
    assert len(built) == 1
    train_quantized(model, bits)
    assert len(built) == 2


def test_tensors_are_those_of_the_model_without_trunk_and_adapters(build_net: Build) -> None:
    model = build_net()
    task = TaskState.of(model)
    state = model.state_dict(keep_vars=True)
    assert task.tensors.keys() == {name for name in state if not name.startswith('backbone.')}
    assert all(tensor is state[name] for name, tensor in task.tensors.items())
    assert task.layers == {name: model.get_submodule(name) for name in BITS_OF}
    assert task.backbone is model.backbone


def test_what_trains_in_the_trunk_belongs_to_it(build_net: Build) -> None:
    model = build_net(wrapper=dict(type='mmqadapter.FrozenBackbone', train='partial-1'))
    inside = {name for name in TaskState.of(model).tensors if name.startswith('backbone.')}
    trained = {n for n, p in model.named_parameters() if p.requires_grad and 'backbone' in n}
    assert inside == trained != set()


def test_quantized_weights_are_latent_ones(build_net: Build) -> None:
    float_model, model = build_net(), build_net(PATTERNS)
    task = TaskState.of(model)
    for name, tensor in TaskState.of(float_model).tensors.items():
        assert torch.equal(task.tensors[name], tensor)
    assert set(task.layer_of_weight()) == {id(task.tensors[f'{name}.weight']) for name in BITS_OF}


@pytest.mark.parametrize(
    'wrap', [nn.DataParallel, torch.compile, lambda model: nn.DataParallel(torch.compile(model))]
)
def test_wrappers_are_seen_through(build_net: Build, wrap: Callable[[nn.Module], Any]) -> None:
    model = build_net()
    assert unwrap_model(wrap(model)) is model
    assert TaskState.of(wrap(model)).tensors.keys() == TaskState.of(model).tensors.keys()


def test_a_model_without_a_wrapped_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match='Linear has no wrapped backbone.*wrap the backbone'):
        TaskState.of(nn.DataParallel(nn.Linear(2, 2)))
