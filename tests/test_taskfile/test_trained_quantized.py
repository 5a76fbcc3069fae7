"""A neck and head that trained at few bits: loading gives the values that training used."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from quantized_models import BITS_OF, FEW, PATTERNS, Net, out, train

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.taskfile.head_bits import trained_bits

Build = Callable[..., Net]


@FEW
def test_a_float_model_predicts_as_the_trained_one(build_net: Build, path: Path, bits: Any) -> None:
    trained, fresh = train(build_net(bits)), build_net()
    save_task(trained, path)
    assert not torch.equal(out(fresh), out(trained))
    load_task(fresh, path)
    assert torch.equal(out(fresh), out(trained))
    assert torch.equal(out(copy.deepcopy(fresh)), out(trained))


@FEW
def test_so_does_a_model_prepared_for_training(build_net: Build, path: Path, bits: Any) -> None:
    trained = train(build_net(bits))
    save_task(trained, path)
    for fresh_bits in (bits, 8):
        fresh = build_net(fresh_bits)
        load_task(fresh, path)
        assert torch.equal(out(fresh), out(trained)) and trained_bits(fresh) == {}


@FEW
@pytest.mark.parametrize('head_bits', [32, 16])
def test_a_loaded_model_saves_the_same_bytes(
    build_net: Build, path: Path, bits: Any, head_bits: int
) -> None:
    save_task(train(build_net(bits)), path, head_bits=head_bits)
    fresh = build_net()
    load_task(fresh, path)
    save_task(fresh, path.with_name('b'), head_bits=head_bits)
    assert path.with_name('b').read_bytes() == path.read_bytes()


@pytest.mark.parametrize('choice', ['partial-1', 'bitfit', 'norm'])
def test_trained_parts_of_the_trunk_are_included(build_net: Build, path: Path, choice: str) -> None:
    wrapper = dict(type='mmqadapter.FrozenBackbone', train=choice)
    trained, fresh = train(build_net(4, wrapper=wrapper)), build_net(wrapper=wrapper)
    save_task(trained, path)
    for _ in range(2):
        load_task(fresh, path)
        assert torch.equal(out(fresh), out(trained))
    save_task(fresh, path.with_name('b'))
    assert path.with_name('b').read_bytes() == path.read_bytes()


def test_a_value_beyond_float16_stays_exact(
    build_net: Build, path: Path, logged: list[str]
) -> None:
    trained, fresh = build_net(4), build_net()
    with torch.no_grad():
        trained.state_dict(keep_vars=True)['head.norm.weight'][0] = 1e5
    trained.head.norm.running_var[0] = 1e10
    save_task(trained, path)
    load_task(fresh, path)
    assert torch.equal(out(fresh), out(trained))
    tensors = inspect_task(path)['tensors']
    assert tensors['head.norm.weight'] == ['torch.float32', [8]]
    assert tensors['head.norm.bias'] == ['torch.float16', [8]]
    assert logged == ['head.norm.weight keeps 32 bits: float16 cannot hold 1e+05.']


def test_further_training_starts_close_to_the_task(build_net: Build, path: Path) -> None:
    trained = train(build_net(PATTERNS))
    save_task(trained, path)
    again, floats = build_net(PATTERNS), build_net()
    load_task(again, path, trainable=True)
    assert trained_bits(again) == BITS_OF
    load_task(floats, path, trainable=True)
    # The adapters' 1-bit codes stay the same; at 2 bits and more a weight may move by a level.
    torch.testing.assert_close(out(floats), out(trained), rtol=1e-3, atol=1e-3)
    moved = (out(again) - out(trained)).abs().mean()
    assert moved < 0.2 * (out(build_net(PATTERNS)) - out(trained)).abs().mean()
    before = {n: p.detach().clone() for n, p in again.named_parameters()}
    train(again)
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


def test_16_bits_of_training_are_stored_as_float16(build_net: Build, path: Path) -> None:
    save_task(train(build_net({'head.*': 16})), path)
    info = inspect_task(path)
    assert info['head_bits'] == 16 and info['tensors']['head.level'][0] == 'torch.float16'


def test_training_at_1_bit_continues_from_the_same_weights(build_net: Build, path: Path) -> None:
    trained, again = train(build_net(1)), build_net(1)
    save_task(trained, path)
    load_task(again, path, trainable=True)
    for name in BITS_OF:
        found, expected = (net.get_submodule(name).weight.detach() for net in (again, trained))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_float_task_starts_training_at_few_bits(build_net: Build, path: Path) -> None:
    trained, fresh = train(build_net()), build_net(4)
    save_task(trained, path)
    load_task(fresh, path, trainable=True)
    assert trained_bits(fresh) == dict.fromkeys(BITS_OF, 4)
    for name, tensor in trained.head.state_dict().items():
        assert torch.equal(fresh.head.state_dict()[name], tensor)
