"""Task files with a quantised neck and head: exact, small, refused where they do not belong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantized_models import BITS_OF, PATTERNS, Net, make, out, train
from torch import nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.taskfile.format import TaskContent, read_content, write_content
from mmqadapter.taskfile.head_bits import layer_bits, train_quantized, trained_bits

FEW = pytest.mark.parametrize('bits', [1, 2, 4, 8, PATTERNS], ids=str)
Build = Callable[..., Net]


@pytest.fixture
def build(tiny_timm_vit: Callable[..., dict]) -> Build:
    """``build(bits)``: the same model each time, training at few bits where ``bits`` are given."""

    def factory(bits: Any = None, **settings: Any) -> Net:
        model = make(tiny_timm_vit, **settings)
        if bits is not None:
            train_quantized(model, layer_bits(model, bits))
        return model

    return factory


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What saving warns of."""
    texts: list[str] = []
    monkeypatch.setattr('mmqadapter.taskfile.head.print_log', lambda text, **_: texts.append(text))
    return texts


def state(model: nn.Module) -> dict[str, Any]:
    """Copy of all that loading could change."""
    kept = {n: m.__dict__.get('packed_weight') for n, m in model.named_modules()}
    return {**{n: t.clone() for n, t in model.state_dict().items()}, 'kept': kept}


def unchanged(model: nn.Module, before: dict[str, Any]) -> bool:
    now = state(model)
    tensors = (n for n in before if n != 'kept')
    return now['kept'] == before['kept'] and all(torch.equal(now[n], before[n]) for n in tensors)


class TestTrainedQuantized:
    """What training computed with comes back bit for bit."""

    @FEW
    def test_a_float_model_predicts_as_the_trained_one(
        self, build: Build, path: Path, bits: Any
    ) -> None:
        trained, fresh = train(build(bits)), build()
        save_task(trained, path)
        assert not torch.equal(out(fresh), out(trained))
        load_task(fresh, path)
        assert torch.equal(out(fresh), out(trained))
        assert torch.equal(out(copy.deepcopy(fresh)), out(trained))

    @FEW
    def test_so_does_a_model_that_was_about_to_train(
        self, build: Build, path: Path, bits: Any
    ) -> None:
        trained = train(build(bits))
        save_task(trained, path)
        for other in (bits, 8):
            fresh = build(other)
            load_task(fresh, path)
            assert torch.equal(out(fresh), out(trained)) and trained_bits(fresh) == {}

    @FEW
    @pytest.mark.parametrize('head_bits', [32, 16])
    def test_a_loaded_model_saves_the_same_bytes(
        self, build: Build, path: Path, bits: Any, head_bits: int
    ) -> None:
        save_task(train(build(bits)), path, head_bits=head_bits)
        fresh = build()
        load_task(fresh, path)
        save_task(fresh, path.with_name('b'), head_bits=head_bits)
        assert path.with_name('b').read_bytes() == path.read_bytes()

    @pytest.mark.parametrize('choice', ['partial-1', 'bitfit', 'norm'])
    def test_what_trains_in_the_trunk_is_part_of_it(
        self, build: Build, path: Path, choice: str
    ) -> None:
        wrapper = dict(type='mmqadapter.FrozenBackbone', train=choice)
        trained, fresh = train(build(4, wrapper=wrapper)), build(wrapper=wrapper)
        save_task(trained, path)
        for _ in range(2):
            load_task(fresh, path)
            assert torch.equal(out(fresh), out(trained))
        save_task(fresh, path.with_name('b'))
        assert path.with_name('b').read_bytes() == path.read_bytes()

    def test_a_value_beyond_float16_stays_exact(
        self, build: Build, path: Path, told: list[str]
    ) -> None:
        trained, fresh = build(4), build()
        with torch.no_grad():
            trained.state_dict(keep_vars=True)['head.norm.weight'][0] = 1e5
        trained.head.norm.running_var[0] = 1e10
        save_task(trained, path)
        load_task(fresh, path)
        assert torch.equal(out(fresh), out(trained))
        tensors = inspect_task(path)['tensors']
        assert tensors['head.norm.weight'] == ['torch.float32', [8]]
        assert tensors['head.norm.bias'] == ['torch.float16', [8]]
        assert told == ['head.norm.weight keeps 32 bits: float16 cannot hold 1e+05.']

    def test_further_training_starts_near_it(self, build: Build, path: Path) -> None:
        trained = train(build(PATTERNS))
        save_task(trained, path)
        again, whole = build(PATTERNS), build()
        load_task(again, path, trainable=True)
        assert trained_bits(again) == BITS_OF
        load_task(whole, path, trainable=True)
        # The adapters' 1-bit codes are kept; at 2 bits and more a weight may move by a level.
        torch.testing.assert_close(out(whole), out(trained), rtol=1e-3, atol=1e-3)
        moved = (out(again) - out(trained)).abs().mean()
        assert moved < 0.2 * (out(build(PATTERNS)) - out(trained)).abs().mean()
        before = {n: p.detach().clone() for n, p in again.named_parameters()}
        train(again)
        for name, parameter in again.named_parameters():
            assert torch.equal(parameter, before[name]) != parameter.requires_grad, name

    def test_a_float_task_starts_training_at_few_bits(self, build: Build, path: Path) -> None:
        trained, fresh = train(build()), build(4)
        save_task(trained, path)
        load_task(fresh, path, trainable=True)
        assert trained_bits(fresh) == dict.fromkeys(BITS_OF, 4)
        for name, tensor in trained.head.state_dict().items():
            assert torch.equal(fresh.head.state_dict()[name], tensor)


class TestAfterTraining:
    """A float model, stored at few bits."""

    @FEW
    def test_it_computes_as_a_model_quantised_in_place(
        self, build: Build, path: Path, bits: Any
    ) -> None:
        trained, fresh = train(build()), build()
        save_task(trained, path, head_bits=bits)
        load_task(fresh, path)
        train_quantized(trained, layer_bits(trained, bits))
        assert torch.equal(out(fresh), out(trained))

    @FEW
    def test_a_loaded_model_saves_the_same_bytes(self, build: Build, path: Path, bits: Any) -> None:
        save_task(train(build()), path, {'classes': ['a']}, bits)
        fresh = build()
        meta = load_task(fresh, path)['dataset']
        for head_bits in (bits, 32, 16):
            save_task(fresh, path.with_name('b'), meta, head_bits)
            assert path.with_name('b').read_bytes() == path.read_bytes()

    def test_fewer_bits_are_taken_and_more_are_not(self, build: Build, path: Path) -> None:
        save_task(train(build(4)), path)
        fresh = build()
        load_task(fresh, path)
        save_task(fresh, path, head_bits={'head.*': 1, 'neck.*': 8})
        tensors = inspect_task(path)['tensors']
        assert tensors['head.reduce.weight'][0] == '1 bits'
        assert tensors['neck.up.weight'][0] == '4 bits'

    def test_weights_that_changed_since_are_quantised_anew(self, build: Build, path: Path) -> None:
        save_task(train(build()), path, head_bits=8)
        fresh, last = build(), build()
        load_task(fresh, path)
        for name in BITS_OF:
            fresh.get_submodule(name).weight.data.mul_(1.5)
        save_task(fresh, path)
        load_task(last, path)
        torch.testing.assert_close(out(last), out(fresh))
        assert inspect_task(path)['version'] == 1

    def test_a_training_state_trains_again(self, build: Build, path: Path) -> None:
        save_task(train(build()), path, head_bits=8)
        fresh = build()
        load_task(fresh, path)
        assert not fresh.head.classify.weight.requires_grad
        train_quantized(fresh, {})
        assert fresh.head.classify.weight.requires_grad
        save_task(fresh, path)
        assert inspect_task(path)['version'] == 1

    def test_a_constant_layer_keeps_16_bits(
        self, build: Build, path: Path, told: list[str]
    ) -> None:
        trained, fresh = build(), build()
        nn.init.constant_(trained.head.classify.weight, 0.5)
        save_task(trained, path, head_bits=4)
        load_task(fresh, path)
        assert torch.equal(fresh.head.classify.weight, trained.head.classify.weight)
        assert inspect_task(path)['tensors']['head.classify.weight'][0] == 'torch.float16'
        assert told == [
            'head.classify keeps 16 bits: a weight of shape (5, 8) cannot be quantised: it is '
            'constant, NaN or inf.'
        ]

    @pytest.mark.parametrize('head_bits', [16, 4])
    def test_buffers_stay_exact(self, build: Build, path: Path, head_bits: int) -> None:
        trained, fresh = train(build()), build()
        save_task(trained, path, head_bits=head_bits)
        load_task(fresh, path)
        for name, buffer in trained.head.named_buffers():
            assert torch.equal(dict(fresh.head.named_buffers())[name], buffer)

    def test_a_shared_layer_and_tied_weights(self, build: Build, path: Path) -> None:
        models = [build(), build()]
        for model in models:
            model.head.twin = model.head.classify
            model.head.tied = nn.Linear(8, 5)
            model.head.tied.weight = model.head.classify.weight
        save_task(train(models[0]), path, head_bits=4)
        load_task(models[1], path)
        assert models[1].head.tied.weight is models[1].head.classify.weight
        train_quantized(models[0], layer_bits(models[0], 4))
        assert torch.equal(out(models[1]), out(models[0]))


class TestSizes:
    """Bytes."""

    @pytest.mark.parametrize('bits', [1, 2, 4, 8])
    def test_codes_statistics_and_the_rest(self, build: Build, path: Path, bits: int) -> None:
        save_task(train(build(bits)), path)
        weights = 16 * 8 * 4 + 8 * 8 * 9 + 8 * 8 + 8 * 5
        channels = 8 + 8 + 8 + 5
        biases, norm, level = 8 + 8 + 5, 2 * 8, 8
        buffers = 2 * 8 * 4 + 8
        head = weights * bits // 8 + 4 * channels + 2 * (biases + norm + level) + buffers
        info = inspect_task(path)
        assert info['bytes']['head'] == head
        assert info['bytes']['file'] < head + info['bytes']['adapters'] + 2048
        assert info['version'] == 2 and info['head_bits'] == 16

    def test_groups_tell_bytes_and_entropy(self, build: Build, path: Path) -> None:
        model = build(PATTERNS)
        save_task(model, path)
        info = inspect_task(path)
        groups = {(g['part'], g['stored']): g for g in info['groups']}
        assert sum(g['bytes'] for g in info['groups']) == sum(
            info['bytes'][part] for part in ('adapters', 'head')
        )
        codes = groups['head', '4-bit codes']
        assert (codes['numbers'], codes['bytes']) == (8 * 8 * 9 + 8 * 8, (8 * 8 * 9 + 8 * 8) // 2)
        assert 3 < codes['entropy'] < 4 and 0 <= codes['lossless'] < 0.25
        assert groups['adapters', '1-bit codes']['entropy'] == pytest.approx(1, abs=0.05)
        assert groups['head', 'float16']['entropy'] is None
        assert groups['head', 'int64']['bytes'] == 8

    def test_a_float_head_has_the_format_that_older_readers_know(
        self, build: Build, path: Path
    ) -> None:
        for head_bits, version in ((32, 1), (16, 1), (8, 2), ({'neck.*': 8}, 2)):
            save_task(build(), path, head_bits=head_bits)
            content = read_content(path)
            assert content.metadata['version'] == version
            assert ('head' in content.metadata) == (version == 2)

    def test_a_file_of_version_1_loads(self, build: Build, path: Path) -> None:
        model, fresh = train(build()), build()
        save_task(model, path)
        content = read_content(path)
        old = {n: t for n, t in model.state_dict().items() if not n.startswith('backbone')}
        blobs = {n: t for n, t in content.tensors.items() if n.startswith('adapters:')}
        metadata = {k: content.metadata[k] for k in ('tuning', 'trunk', 'dataset')}
        metadata |= {'version': 1, 'head_bits': 32}
        write_content(path, TaskContent(metadata, {**old, **blobs}))
        load_task(fresh, path)
        assert torch.equal(out(fresh), out(model))


class TestRefusals:
    """What is damaged or does not belong is refused, and the model stays as it was."""

    @pytest.fixture
    def task(self, build: Build, path: Path) -> Path:
        save_task(train(build(PATTERNS)), path)
        return path

    def refused(self, model: nn.Module, task: Path, text: str) -> None:
        before = state(model)
        with pytest.raises(ValueError, match=text):
            load_task(model, task)
        assert unchanged(model, before)

    def test_another_number_of_classes(self, build: Build, task: Path) -> None:
        text = r'head\.classify\.bias has shape \(5,\) in .* and \(7,\) in the model; is the'
        self.refused(build(classes=7), task, text)

    def test_another_architecture(self, build: Build, task: Path) -> None:
        model = build()
        model.neck['more'] = nn.Conv2d(3, 3, 1)
        self.refused(model, task, "only the model has 'neck.more.bias'")

    def test_another_kind_of_layer(self, build: Build, task: Path) -> None:
        model = build()
        model.neck['up'] = nn.Conv2d(8, 16, 2)  # its weight has the same shape
        model.neck['up'].bias = nn.Parameter(torch.zeros(8))
        self.refused(model, task, 'neck.up.weight is quantised in .* as another kind of layer')

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
            lambda head, tensors: tensors.update(
                {'head:codes': tensors['head:codes'][:-1].clone()}
            ),
            lambda head, tensors: tensors.update({'head:codes': tensors['head:codes'].char()}),
            lambda head, tensors: tensors.update(
                {'head:statistics': tensors['head:statistics'].float()}
            ),
        ],
    )
    def test_names_that_do_not_fit_the_numbers(
        self, build: Build, task: Path, change: Callable
    ) -> None:
        content = read_content(task)
        change(content.metadata['head'], content.tensors)
        write_content(task, content)
        self.refused(build(), task, 'names and numbers|another kind|only the|has shape')
        with pytest.raises(ValueError):
            inspect_task(task)
            load_task(build(), task)

    def test_a_tree_that_is_none(self, build: Build, task: Path) -> None:
        content = read_content(task)
        for tree in (None, [], 3, 'head', {'head': []}, {}):
            write_content(task, TaskContent({**content.metadata, 'head': tree}, content.tensors))
            self.refused(build(), task, 'names and numbers of neck and head differ')

    def test_truncated(self, build: Build, task: Path) -> None:
        data = task.read_bytes()
        for length in (8, len(data) // 2, len(data) - 1):
            task.write_bytes(data[:length])
            self.refused(build(), task, 'truncated or damaged')

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def test_flipped_bits(self, build: Build, task: Path, share: float, bit: int) -> None:
        data = task.read_bytes()
        broken = bytearray(data)
        broken[int(share * len(data))] ^= 1 << bit
        task.write_bytes(broken)
        with pytest.raises(ValueError):
            inspect_task(task)
        task.write_bytes(data)

    def test_a_reader_that_knows_version_1_alone(
        self, build: Build, task: Path, monkeypatch
    ) -> None:
        monkeypatch.setattr('mmqadapter.taskfile.format.VERSION', 1)
        self.refused(build(), task, 'format version 2, this package reads up to 1; install a newer')

    @pytest.mark.parametrize('value', [float('nan'), float('inf')])
    def test_broken_training_leaves_the_old_file(
        self, build: Build, task: Path, value: float
    ) -> None:
        before = task.read_bytes()
        for name in ('head.classify.weight', 'head.norm.weight'):
            model = build(PATTERNS)
            model.state_dict(keep_vars=True)[name].data[0] = value
            with pytest.raises(ValueError, match=f'^{name.rpartition(".")[0]}.*NaN or inf'):
                save_task(model, task)
        assert task.read_bytes() == before
