"""Task files of models in which a tensor has several names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mmqadapter.taskfile import inspect_task, load_task, save_task
from mmqadapter.taskfile.contents import split_content
from mmqadapter.taskfile.format import TaskContent, read_content, write_content

Build = Callable[..., nn.Module]
BITS = [32, 4]


def tie(model: nn.Module) -> nn.Module:
    """Give the head a second name, as a detector does in its first training step."""
    model.again = model.head
    return model


def changed(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


def same_head(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.head.state_dict().values(), other.head.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize('bits', BITS)
@pytest.mark.parametrize(
    ('ties_saved', 'ties_loaded'), [(True, False), (False, True), (True, True)]
)
def test_one_name_in_common_is_enough(
    build: Build, path: Path, bits: int, ties_saved: bool, ties_loaded: bool
) -> None:
    trained, model = changed(build()), build()
    save_task(tie(trained) if ties_saved else trained, path, head_bits=bits)
    load_task(tie(model) if ties_loaded else model, path)
    reference = build()
    save_task(
        changed_like(trained, reference),
        plain := path.with_name('plain.safetensors'),
        head_bits=bits,
    )
    load_task(expected := build(), plain)
    assert same_head(model, expected)


def changed_like(source: nn.Module, target: nn.Module) -> nn.Module:
    target.head.load_state_dict(source.head.state_dict())
    return target


@pytest.mark.parametrize('bits', BITS)
def test_tied_tensors_are_stored_once(build: Build, path: Path, bits: int) -> None:
    model = changed(build())
    save_task(model, path, head_bits=bits)
    one = inspect_task(path)
    save_task(tie(model), path, head_bits=bits)
    two = inspect_task(path)
    assert (
        two['bytes']['head']
        == one['bytes']['head']
        == sum(group['bytes'] for group in two['groups'] if group['part'] != 'adapters')
    )
    assert (two['version'], one['version']) == (3, 1 if bits == 32 else 2)
    assert two['tensors']['again.0.weight'] == two['tensors']['head.0.weight']


def test_a_name_that_neither_shares_is_refused(build: Build, path: Path) -> None:
    model = tie(build())
    model.extra = nn.Linear(2, 2)
    save_task(model, path)
    with pytest.raises(ValueError, match=r"only the file has 'extra.bias'; build the model with"):
        load_task(build(), path)


def test_names_tied_in_the_model_alone_need_one_value(build: Build, path: Path) -> None:
    model = build()
    model.again = changed(build()).head
    save_task(model, path)
    with pytest.raises(ValueError, match='are one tensor in the model and differ in'):
        load_task(tie(build()), path)


@pytest.mark.parametrize('tied', [{'again': 'missing'}, {'head.0.weight': 'head.0.bias'}])
def test_damaged_ties(build: Build, path: Path, tied: dict[str, str]) -> None:
    save_task(build(), path)
    content = read_content(path)
    write_content(
        path, TaskContent({**content.metadata, 'version': 3, 'tied': tied}, content.tensors)
    )
    with pytest.raises(ValueError, match=r'is tied to .*; copy or download it again'):
        split_content(read_content(path))
