"""Many tasks on one trunk: each predicts exactly as in a separate model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tasks import (
    WRAPPERS,
    Build,
    Factory,
    alone,
    images,
    outputs,
)
from torch import nn

from mmqadapter import load_task, save_task
from mmqadapter.inference.bank import TaskBank
from mmqadapter.utils.tuned_backbone import tuned_backbone


class TestSwitching:
    """Predictions equal those of a new model in any order, and the trunk does not change."""

    @pytest.mark.parametrize('kind', WRAPPERS)
    def test_every_tuning_method(self, build: Build, make: Callable, kind: str) -> None:
        self.check(build, make, WRAPPERS[kind])

    def test_every_backbone(self, lora_backbone: Factory, build: Build, make: Callable) -> None:
        self.check(build, make, WRAPPERS['LoRA, 2 bits'], lora_backbone())

    def check(self, build: Build, make: Callable, *args: Any) -> None:
        paths = make(*args)
        expected = {path.stem: alone(build, path, *args) for path in paths}
        assert not torch.equal(*expected.values())
        bank = TaskBank(build(*args))
        before = outputs(bank.model)
        for path in paths:
            bank.register(path.stem, path)
        assert torch.equal(outputs(bank.model), before) and bank.current is None
        for path in [paths[1], *paths, paths[0], paths[1]]:
            bank.use(path.stem)
            assert torch.equal(outputs(bank.model), expected[path.stem])

    def test_tensors_are_exchanged_and_the_trunk_is_shared(self, bank: TaskBank) -> None:
        def slots() -> tuple[dict[str, int], dict[str, int]]:
            trunk = tuned_backbone(bank.model).trunk.state_dict()
            state = {n: t for n, t in bank.model.state_dict().items() if 'trunk' not in n}
            return tuple({n: t.data_ptr() for n, t in s.items()} for s in (trunk, state))

        trunk, first = slots()
        bank.use('rust')
        assert slots()[0] == trunk
        second = slots()[1]
        assert first.keys() == second.keys() and not set(first.values()) & set(second.values())
        bank.use('cracks')
        assert slots() == (trunk, first)

    def test_tied_weights_stay_tied(self, bank: TaskBank) -> None:
        bank.use('rust')
        assert bank.model.again.weight is bank.model.head[2].weight

    def test_it_saves_as_the_task_in_use(
        self, bank: TaskBank, make: Callable, tmp_path: Path
    ) -> None:
        for path in make():
            meta = bank.use(path.name.partition('.')[0])
            save_task(bank.model, tmp_path / 'again', meta['dataset'])
            assert (tmp_path / 'again').read_bytes() == path.read_bytes()

    def test_metadata_names_and_sizes(self, bank: TaskBank) -> None:
        assert bank.names == ('cracks', 'rust') and bank.current == 'cracks'
        assert bank.use('rust')['dataset'] == {'classes': ['rust.task']}
        head = {id(t): t for t in bank.model.head.state_dict(keep_vars=True).values()}
        again = bank.model.again.bias
        quantized = 3 * 2 * (16 * 4 * 9 + 8)
        expected = sum(t.nbytes for t in head.values()) + again.nbytes + quantized
        assert bank.nbytes('rust') == expected

    def test_registering_while_gradients_are_off(self, build: Build, make: Callable) -> None:
        path, _ = make()
        bank = TaskBank(build())
        with torch.inference_mode():
            bank.register('a', path)
            bank.use('a')
        assert torch.equal(outputs(bank.model), alone(build, path))

    def test_a_removed_task_is_gone(self, bank: TaskBank, make: Callable) -> None:
        before = outputs(bank.model)
        bank.remove('cracks')
        assert bank.names == ('rust',) and bank.current is None
        assert torch.equal(outputs(bank.model), before)
        bank.register('cracks', make()[1])
        bank.use('cracks')
        assert not torch.equal(outputs(bank.model), before)


class TestCopies:
    """Copies share nothing with the bank."""

    def test_a_copied_model_keeps_its_task(self, bank: TaskBank) -> None:
        expected = outputs(bank.model)
        twin = copy.deepcopy(bank.model)
        bank.use('rust')
        assert torch.equal(outputs(twin), expected)
        with torch.no_grad():
            for tensor in twin.state_dict().values():
                tensor.zero_()
        bank.use('cracks')
        assert torch.equal(outputs(bank.model), expected)

    def test_a_copied_bank_switches_its_own_model(self, bank: TaskBank) -> None:
        expected = {name: outputs(bank.model) for name in bank.names if bank.use(name)}
        twin = copy.deepcopy(bank)
        assert twin.model is not bank.model
        twin.use('cracks')
        assert (twin.current, bank.current) == ('cracks', 'rust')
        assert torch.equal(outputs(twin.model), expected['cracks'])
        assert torch.equal(outputs(bank.model), expected['rust'])


class TestRefusals:
    """The error names what does not fit, and the task in use stays."""

    @pytest.fixture(autouse=True)
    def the_task_stays(self, bank: TaskBank) -> Any:
        before = outputs(bank.model)
        yield
        assert bank.current == 'cracks' and torch.equal(outputs(bank.model.eval()), before)
        assert bank.names == ('cracks', 'rust')

    def refused(self, call: Callable[[], Any], text: str) -> None:
        with pytest.raises(ValueError, match=text):
            call()

    def test_an_unknown_name(self, bank: TaskBank) -> None:
        text = "no task 'moss'; registered: 'cracks', 'rust'"
        for call in (bank.use, bank.remove, bank.nbytes):
            self.refused(lambda call=call: call('moss'), text)

    def test_a_name_in_use(self, bank: TaskBank, make: Callable) -> None:
        self.refused(
            lambda: bank.register('rust', make()[0]), "already has a task 'rust'; remove it"
        )

    @pytest.mark.parametrize(
        ('other', 'text'),
        [
            (dict(seed=1), r'belongs to the trunk \w+\.\.\., the model has \w+\.\.\.'),
            (dict(wrapper=WRAPPERS['LoRA, 2 bits']), 'trained with the tuning config .*LoRA'),
            (dict(classes=7), r'shape \(7,\) in .* and \(5,\) in the model; is the number of'),
        ],
    )
    def test_another_model(
        self, bank: TaskBank, build: Build, tmp_path: Path, other: dict, text: str
    ) -> None:
        save_task(build(**other), tmp_path / 'other')
        self.refused(lambda: bank.register('other', tmp_path / 'other'), text)

    def test_a_damaged_or_missing_file(self, bank: TaskBank, make: Callable) -> None:
        path = make()[0]
        path.write_bytes(path.read_bytes()[:-1])
        self.refused(lambda: bank.register('other', path), 'truncated or damaged')
        with pytest.raises(FileNotFoundError, match='no task file'):
            bank.register('other', path.with_name('none'))

    def test_training(self, bank: TaskBank) -> None:
        bank.model.train()
        for model in (bank.model, copy.deepcopy(bank.model)):
            with pytest.raises(RuntimeError, match='for inference; to train, build another model'):
                model(images())


def test_a_task_that_was_overwritten_is_refused(bank: TaskBank, make: Callable) -> None:
    load_task(bank.model, make()[1])
    with pytest.raises(ValueError, match="'cracks' were changed in place.* register it again"):
        bank.use('cracks')
    expected = outputs(bank.model)
    bank.use('rust')
    assert torch.equal(outputs(bank.model), expected)


def test_a_model_that_was_cast_or_rebuilt(bank: TaskBank) -> None:
    bank.model.add_module('without_weights', nn.ReLU())
    bank.use('rust')
    for change in (nn.Module.double, lambda model: model.add_module('new', nn.Linear(2, 2))):
        change(bank.model)
        with pytest.raises(ValueError, match='moved, cast or rebuilt .* make a new bank'):
            bank.use('cracks')


def test_a_model_without_a_trunk() -> None:
    with pytest.raises(ValueError, match='Sequential has no wrapped backbone'):
        TaskBank(nn.Sequential(nn.Linear(2, 2)))
