"""A quantized neck and head that is damaged or does not fit is refused, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantized_models import PATTERNS, Net, train
from torch import nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.taskfile.format import TaskContent, read_content, write_content

Build = Callable[..., Net]


def state(model: nn.Module) -> dict[str, Any]:
    """Return a copy of all that loading could change."""
    codes = {n: m.__dict__.get('packed_weight') for n, m in model.named_modules()}
    return {**{n: t.clone() for n, t in model.state_dict().items()}, 'codes': codes}


def unchanged(model: nn.Module, before: dict[str, Any]) -> bool:
    now = state(model)
    tensors = (n for n in before if n != 'codes')
    return now['codes'] == before['codes'] and all(torch.equal(now[n], before[n]) for n in tensors)


@pytest.fixture
def task(build_net: Build, path: Path) -> Path:
    save_task(train(build_net(PATTERNS)), path)
    return path


def refused(model: nn.Module, task: Path, text: str) -> None:
    before = state(model)
    with pytest.raises(ValueError, match=text):
        load_task(model, task)
    assert unchanged(model, before)


def test_another_number_of_classes(build_net: Build, task: Path) -> None:
    text = r'head\.classify\.bias has shape \(5,\) in .* and \(7,\) in the model; is the'
    refused(build_net(classes=7), task, text)


def test_another_architecture(build_net: Build, task: Path) -> None:
    model = build_net()
    model.neck['more'] = nn.Conv2d(3, 3, 1)
    refused(model, task, "only the model has 'neck.more.bias'")


def test_another_kind_of_layer(build_net: Build, task: Path) -> None:
    model = build_net()
    model.neck['up'] = nn.Conv2d(8, 16, 2)  # its weight has the same shape
    model.neck['up'].bias = nn.Parameter(torch.zeros(8))
    text = 'neck.up.weight is quantized in .* as another kind of layer .*; build the model with the'
    refused(model, task, text)


@pytest.mark.parametrize(
    'change',
    [
        lambda head, tensors: head['head']['classify'].pop('weight'),
        lambda head, tensors: head['head']['classify'].update(weight=[8, 0, 5, 9]),
        lambda head, tensors: head['head']['classify'].update(weight=[8, 0, -5, -8]),
        lambda head, tensors: head['head']['classify'].update(weight=[8, 7, 5, 8]),
        lambda head, tensors: head['head']['classify'].update(weight=[8]),
        lambda head, tensors: head['head']['classify'].update(weight=[]),
        lambda head, tensors: head['head']['classify'].update(weight=None),
        lambda head, tensors: head['head']['classify'].update(weight=['load', 5, 8]),
        lambda head, tensors: head['head']['classify'].update(bias=[16, 10**30]),
        lambda head, tensors: head['head']['classify'].update(bias=[16, '5']),
        lambda head, tensors: head['head'].update(norm=[1]),
        lambda head, tensors: tensors.pop('head:statistics'),
        lambda head, tensors: tensors.update({'head:more': torch.zeros(3)}),
        lambda head, tensors: tensors.update({'head:codes': tensors['head:codes'][:-1].clone()}),
        lambda head, tensors: tensors.update({'head:codes': tensors['head:codes'].char()}),
        lambda head, tensors: tensors.update(
            {'head:statistics': tensors['head:statistics'].float()}
        ),
    ],
)
def test_names_that_do_not_fit_the_values(build_net: Build, task: Path, change: Callable) -> None:
    content = read_content(task)
    change(content.metadata['head'], content.tensors)
    write_content(task, content)
    refused(build_net(), task, 'names and values|another kind|only the|has shape')
    with pytest.raises(ValueError):
        inspect_task(task)
        load_task(build_net(), task)


def test_a_head_that_is_not_a_tree(build_net: Build, task: Path) -> None:
    content = read_content(task)
    not_dicts = dict.fromkeys(('[]', '3', "'head'"), 'expected a tree of names')
    for tree in (None, [], 3, 'head', {'head': []}, {}):
        write_content(task, TaskContent({**content.metadata, 'head': tree}, content.tensors))
        other = 'names and values of neck and head do not fit'
        refused(build_net(), task, not_dicts.get(repr(tree), other))


def test_truncated(build_net: Build, task: Path) -> None:
    data = task.read_bytes()
    for length in (8, len(data) // 2, len(data) - 1):
        task.write_bytes(data[:length])
        refused(build_net(), task, 'truncated or damaged')


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_flipped_bits(build_net: Build, task: Path, share: float, bit: int) -> None:
    data = task.read_bytes()
    broken = bytearray(data)
    broken[int(share * len(data))] ^= 1 << bit
    task.write_bytes(broken)
    with pytest.raises(ValueError):
        inspect_task(task)
    task.write_bytes(data)


def test_a_reader_of_version_1_refuses_version_2(build_net: Build, task: Path, monkeypatch) -> None:
    monkeypatch.setattr('mmqadapter.taskfile.format.VERSION', 1)
    refused(build_net(), task, 'format version 2, this package reads up to 1; install a newer')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_nan_and_inf_leave_the_old_file(build_net: Build, task: Path, value: float) -> None:
    before = task.read_bytes()
    for name in ('head.classify.weight', 'head.norm.weight'):
        model = build_net(PATTERNS)
        model.state_dict(keep_vars=True)[name].data[0] = value
        with pytest.raises(ValueError, match=f'^{name.rpartition(".")[0]}.*NaN or inf'):
            save_task(model, task)
    assert task.read_bytes() == before
