"""Several tasks in one forward of the trunk: each as if it were alone."""

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
from mmqadapter.inference.bank import MultiTaskModel, TaskBank, runs_once
from mmqadapter.utils.tuned_backbone import tuned_backbone

JOINED = dict(
    HIGHWAY, adapter=dict(type='ConvAdapter', width=4), taps='stream', cell='JoinedCell',
    stem='ConvStem', quantizer=ONE_BIT,
)  # fmt: skip


def bank_of(build: Build, paths: list[Path], *args: Any) -> TaskBank:
    bank = TaskBank(build(*args))
    for path in paths:
        bank.register(path.name.partition('.')[0], path)
    return bank


def runs_of(trunk: nn.Module) -> list[int]:
    """Grows with each forward."""
    runs: list[int] = []
    trunk.register_forward_hook(lambda *_: runs.append(1))
    return runs


@pytest.mark.parametrize('wrapper', [HIGHWAY, JOINED], ids=['published', 'joined, 1 bit, stem'])
def test_predictions_are_those_of_a_switched_model(
    tiny_backbone: Factory, build: Build, make: Callable, wrapper: dict
) -> None:
    paths = make(wrapper, tiny_backbone())
    bank = bank_of(build, paths, wrapper, tiny_backbone())
    together = MultiTaskModel(bank)
    assert together.names == ('cracks', 'rust')
    found = together.forward(images())
    for name in together.names:
        bank.use(name)
        assert torch.equal(found[name], outputs(bank.model))
    assert not torch.equal(found['cracks'], found['rust'])


def test_the_trunk_runs_once(build: Build, make: Callable) -> None:
    bank = bank_of(build, make(HIGHWAY), HIGHWAY)
    together = MultiTaskModel(bank)
    runs = runs_of(together._models[0].get_submodule('backbone')._shared._backbone.trunk)
    together.forward(images())
    together.forward(images())
    assert len(runs) == 2


def test_tasks_share_all_tensors_with_the_bank(build: Build, make: Callable) -> None:
    bank = bank_of(build, make(HIGHWAY), HIGHWAY)
    bank.use('rust')
    own = {id(p) for p in bank.model.parameters()}
    assert {id(p) for p in bank.model_of('rust').parameters()} == own
    trunk = {id(p) for p in tuned_backbone(bank.model).trunk.parameters()}
    assert {id(p) for p in bank.model_of('cracks').parameters()} & own == trunk


def test_the_bank_goes_on_alone(build: Build, make: Callable) -> None:
    bank = bank_of(build, make(HIGHWAY), HIGHWAY)
    bank.use('rust')
    before = outputs(bank.model)
    together = MultiTaskModel(bank, ['cracks'])
    first = together.forward(images())
    bank.remove('cracks')
    assert torch.equal(outputs(bank.model), before)
    assert torch.equal(together.forward(images())['cracks'], first['cracks'])


def test_no_maps_wait_after_a_failure(build: Build, make: Callable) -> None:
    together = MultiTaskModel(bank_of(build, make(HIGHWAY), HIGHWAY))
    expected = together.forward(images())
    with pytest.raises(TypeError):
        together.forward(images(), nonsense=1)
    together._shared.maps(0, images())  # as if the second task had failed
    found = together.forward(images().flip(0))
    assert all(torch.equal(found[name].flip(0), expected[name]) for name in expected)


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
def test_a_bare_backbone(tiny_timm_vit: Factory, tmp_path: Path) -> None:
    """Without neck and head each task still has its own maps."""
    torch.manual_seed(0)
    highway = MODELS.build(dict(HIGHWAY, backbone=tiny_timm_vit())).eval()
    bank = TaskBank(highway)
    for name in ('cracks', 'rust'):
        for parameter in highway.adapters.parameters():
            nn.init.normal_(parameter)
        save_task(highway, tmp_path / f'{name}.task.safetensors')
    for name in ('cracks', 'rust'):
        bank.register(name, tmp_path / f'{name}.task.safetensors')
    found = MultiTaskModel(bank).forward(images())
    for name in ('cracks', 'rust'):
        bank.use(name)
        assert all(map(torch.equal, found[name], bank.model(images())))
