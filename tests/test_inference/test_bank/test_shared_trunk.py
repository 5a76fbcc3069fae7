"""Several tasks in one forward of the trunk: each predicts as if it were alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS
from tasks import ADAPTED, HIGHWAY, ONE_BIT, Build, Factory, images, outputs
from torch import nn

from mmqadapter import save_task
from mmqadapter.inference.bank import MultiTaskModel, TaskBank, TasksTogether, runs_once
from mmqadapter.utils.tuned_backbone import tuned_backbone

JOINED = dict(
    HIGHWAY, adapter=dict(type='ConvAdapter', width=4), taps='stream', cell='JoinedCell',
    stem='ConvStem', quantizer=ONE_BIT,
)  # fmt: skip
STANDARDIZED = dict(
    HIGHWAY, adapter=dict(type='ConvAdapter', width=4), taps='block', cell='StandardizedCell',
)  # fmt: skip


def bank_of(build: Build, paths: list[Path], *args: Any) -> TaskBank:
    bank = TaskBank(build(*args))
    for path in paths:
        bank.register(path.name.partition('.')[0], path)
    return bank


def runs_of(trunk: nn.Module) -> list[int]:
    """Return a list that grows with each forward."""
    runs: list[int] = []
    trunk.register_forward_hook(lambda *_: runs.append(1))
    return runs


@pytest.mark.parametrize(
    'wrapper',
    [HIGHWAY, JOINED, STANDARDIZED],
    ids=['published', 'joined, 1 bit, stem', 'standardized'],
)
def test_predictions_are_those_of_a_switched_model(
    tiny_backbone: Factory, build: Build, make: Callable, wrapper: dict
) -> None:
    if any(net in str(tiny_backbone()) for net in ('MSCAN', 'ResNet')) and 'stem' in wrapper:
        pytest.skip('a stem is refused: its first convolution is not the whole patch embedding')
    paths = make(wrapper, tiny_backbone())
    bank = bank_of(build, paths, wrapper, tiny_backbone())
    model = MultiTaskModel(bank)
    assert model.names == ('cracks', 'rust')
    predicted = model.forward(images())
    for name in model.names:
        bank.use(name)
        assert torch.equal(predicted[name], outputs(bank.model))
    assert not torch.equal(predicted['cracks'], predicted['rust'])


def test_the_trunk_runs_once(build: Build, make: Callable) -> None:
    bank = bank_of(build, make(HIGHWAY), HIGHWAY)
    model = MultiTaskModel(bank)
    runs = runs_of(model._models[0].get_submodule('backbone')._shared._backbone.trunk)
    model.forward(images())
    model.forward(images())
    assert len(runs) == 2


def test_tasks_share_all_tensors_with_the_bank(build: Build, make: Callable) -> None:
    bank = bank_of(build, make(HIGHWAY), HIGHWAY)
    bank.use('rust')
    in_use = {id(p) for p in bank.model.parameters()}
    assert {id(p) for p in bank.model_of('rust').parameters()} == in_use
    trunk = {id(p) for p in tuned_backbone(bank.model).trunk.parameters()}
    assert {id(p) for p in bank.model_of('cracks').parameters()} & in_use == trunk


def test_bank_and_model_are_independent(build: Build, make: Callable) -> None:
    bank = bank_of(build, make(HIGHWAY), HIGHWAY)
    bank.use('rust')
    before = outputs(bank.model)
    model = MultiTaskModel(bank, ['cracks'])
    first = model.forward(images())
    bank.remove('cracks')
    assert torch.equal(outputs(bank.model), before)
    assert torch.equal(model.forward(images())['cracks'], first['cracks'])


def test_no_maps_wait_after_a_failure(build: Build, make: Callable) -> None:
    model = MultiTaskModel(bank_of(build, make(HIGHWAY), HIGHWAY))
    expected = model.forward(images())
    with pytest.raises(TypeError):
        model.forward(images(), nonsense=1)
    model._shared.maps(0, images())  # as if the second task had failed
    predicted = model.forward(images().flip(0))
    assert all(torch.equal(predicted[name].flip(0), expected[name]) for name in expected)


@pytest.mark.parametrize(
    ('wrapper', 'text'),
    [
        (ADAPTED, 'AdaptedBackbone: its trunk runs differently for each task'),
        (dict(HIGHWAY, inpath_blocks=1), 'inpath_blocks=1: the trunk runs differently'),
    ],
)
def test_a_trunk_that_depends_on_the_task_is_refused(
    build: Build, make: Callable, wrapper: dict, text: str
) -> None:
    bank = bank_of(build, make(wrapper), wrapper)
    assert not runs_once(bank.model) and runs_once(build(HIGHWAY))
    with pytest.raises(ValueError, match=text):
        MultiTaskModel(bank)


def test_names_are_checked(build: Build, make: Callable) -> None:
    with pytest.raises(ValueError, match='the bank has no tasks; register some first'):
        MultiTaskModel(TaskBank(build(HIGHWAY)))
    with pytest.raises(ValueError, match="has no task 'moss'; registered: 'cracks', 'rust'"):
        MultiTaskModel(bank_of(build, make(HIGHWAY), HIGHWAY), ['moss'])


@torch.no_grad()
def test_a_backbone_without_neck_and_head(tiny_timm_vit: Factory, tmp_path: Path) -> None:
    """Each task still has its own maps."""
    torch.manual_seed(0)
    highway = MODELS.build(dict(HIGHWAY, backbone=tiny_timm_vit())).eval()
    bank = TaskBank(highway)
    for name in ('cracks', 'rust'):
        for parameter in highway.adapters.parameters():
            nn.init.normal_(parameter)
        save_task(highway, tmp_path / f'{name}.task.safetensors')
    for name in ('cracks', 'rust'):
        bank.register(name, tmp_path / f'{name}.task.safetensors')
    predicted = MultiTaskModel(bank).forward(images())
    for name in ('cracks', 'rust'):
        bank.use(name)
        assert all(map(torch.equal, predicted[name], bank.model(images())))


def test_the_name_of_version_0_1_0_still_works() -> None:
    assert TasksTogether is MultiTaskModel
