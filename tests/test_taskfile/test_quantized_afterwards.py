"""A float neck and head, quantized when they are saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from quantized_models import BITS_OF, FEW, Net, out, train
from torch import nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.taskfile.head_bits import layer_bits, train_quantized

Build = Callable[..., Net]


@FEW
def test_it_computes_as_a_model_quantized_in_place(build_net: Build, path: Path, bits: Any) -> None:
    trained, fresh = train(build_net()), build_net()
    save_task(trained, path, head_bits=bits)
    load_task(fresh, path)
    train_quantized(trained, layer_bits(trained, bits))
    assert torch.equal(out(fresh), out(trained))


@FEW
def test_a_loaded_model_saves_the_same_bytes(build_net: Build, path: Path, bits: Any) -> None:
    save_task(train(build_net()), path, {'classes': ['a']}, bits)
    fresh = build_net()
    meta = load_task(fresh, path)['dataset']
    for head_bits in (bits, 32, 16):
        save_task(fresh, path.with_name('b'), meta, head_bits)
        assert path.with_name('b').read_bytes() == path.read_bytes()


def test_codes_are_replaced_by_fewer_bits_and_not_by_more(build_net: Build, path: Path) -> None:
    save_task(train(build_net(4)), path)
    fresh = build_net()
    load_task(fresh, path)
    save_task(fresh, path, head_bits={'head.*': 1, 'neck.*': 8})
    tensors = inspect_task(path)['tensors']
    assert tensors['head.reduce.weight'][0] == '1 bits'
    assert tensors['neck.up.weight'][0] == '4 bits'


def test_weights_changed_after_loading_lose_their_codes(build_net: Build, path: Path) -> None:
    save_task(train(build_net()), path, head_bits=8)
    fresh, last = build_net(), build_net()
    load_task(fresh, path)
    for name in BITS_OF:
        fresh.get_submodule(name).weight.data.mul_(1.5)
    save_task(fresh, path)
    load_task(last, path)
    torch.testing.assert_close(out(last), out(fresh))
    assert inspect_task(path)['version'] == 1


def test_a_float_training_can_start_after_loading(build_net: Build, path: Path) -> None:
    save_task(train(build_net()), path, head_bits=8)
    fresh = build_net()
    load_task(fresh, path)
    assert not fresh.head.classify.weight.requires_grad
    train_quantized(fresh, {})
    assert fresh.head.classify.weight.requires_grad
    save_task(fresh, path)
    assert inspect_task(path)['version'] == 1


def test_a_constant_layer_keeps_16_bits(build_net: Build, path: Path, logged: list[str]) -> None:
    trained, fresh = build_net(), build_net()
    nn.init.constant_(trained.head.classify.weight, 0.5)
    save_task(trained, path, head_bits=4)
    load_task(fresh, path)
    assert torch.equal(fresh.head.classify.weight, trained.head.classify.weight)
    assert inspect_task(path)['tensors']['head.classify.weight'][0] == 'torch.float16'
    assert logged == [
        'head.classify keeps 16 bits: a weight of shape (5, 8) cannot be quantized: it is '
        'constant, NaN or inf.'
    ]


@pytest.mark.parametrize('head_bits', [16, 4])
def test_buffers_stay_exact(build_net: Build, path: Path, head_bits: int) -> None:
    trained, fresh = train(build_net()), build_net()
    save_task(trained, path, head_bits=head_bits)
    load_task(fresh, path)
    for name, buffer in trained.head.named_buffers():
        assert torch.equal(dict(fresh.head.named_buffers())[name], buffer)


def test_a_shared_layer_and_tied_weights(build_net: Build, path: Path) -> None:
    models = [build_net(), build_net()]
    for model in models:
        model.head.twin = model.head.classify
        model.head.tied = nn.Linear(8, 5)
        model.head.tied.weight = model.head.classify.weight
    save_task(train(models[0]), path, head_bits=4)
    load_task(models[1], path)
    assert models[1].head.tied.weight is models[1].head.classify.weight
    train_quantized(models[0], layer_bits(models[0], 4))
    assert torch.equal(out(models[1]), out(models[0]))
