"""Training that starts from a task, and training states that undo the folding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.quant import quantized_weights

Build = Callable[..., nn.Module]
Train = Callable[[nn.Module], nn.Module]
Outputs = Callable[[nn.Module], Tensor]

BITS = pytest.mark.parametrize('bits', [1, 2, 4, 8, 32])


def test_trainable_weights_keep_their_codes_at_1_bit(
    build: Build, train: Train, outputs: Outputs, path: Path
) -> None:
    trained, fresh = train(build()), build()
    save_task(trained, path)
    load_task(fresh, path, trainable=True)
    torch.testing.assert_close(outputs(fresh), outputs(trained), rtol=1e-3, atol=1e-3)
    for (_, quantizer, latent), (_, _, source) in zip(
        quantized_weights(fresh), quantized_weights(trained), strict=True
    ):
        assert torch.equal(quantizer.encode(latent).codes, quantizer.encode(source).codes)


@BITS
def test_trainable_weights_train(build: Build, train: Train, path: Path, bits: int) -> None:
    save_task(train(build(bits=bits)), path)
    fresh = build(bits=bits)
    load_task(fresh, path, trainable=True)
    before = {name: p.detach().clone() for name, p in fresh.named_parameters()}
    train(fresh)
    for name, parameter in fresh.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


def test_folded_weights_do_not_train(build: Build, train: Train, path: Path) -> None:
    save_task(train(build()), path)
    fresh = build()
    load_task(fresh, path)
    assert not any(latent.requires_grad for _, _, latent in quantized_weights(fresh))


def test_a_training_state_undoes_the_folding(
    build: Build, train: Train, outputs: Outputs, path: Path
) -> None:
    trained, fresh = train(build()), build()
    save_task(trained, path)
    load_task(fresh, path)
    train(trained)
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(outputs(fresh), outputs(trained))
    assert all(quantizer.folded is None for _, quantizer, _ in quantized_weights(fresh))
    assert all(latent.requires_grad for _, _, latent in quantized_weights(fresh))


def test_the_state_of_a_folded_model_loads_exactly(
    build: Build, train: Train, outputs: Outputs, path: Path
) -> None:
    trained, folded, fresh = train(build()), build(), build()
    save_task(trained, path)
    load_task(folded, path)
    fresh.load_state_dict(folded.state_dict())
    torch.testing.assert_close(outputs(fresh), outputs(trained), rtol=1e-3, atol=1e-3)


def test_a_model_frozen_after_training_saves_and_loads_all_of_its_task(
    build: Build, train: Train, outputs: Outputs, path: Path
) -> None:
    wrapper = dict(type='mmqadapter.FrozenBackbone', train='norm')
    trained = train(build(wrapper=wrapper))
    save_task(trained, path)
    whole = path.read_bytes()
    save_task(trained.requires_grad_(False), path)
    assert path.read_bytes() == whole
    fresh = build(wrapper=wrapper).requires_grad_(False)
    load_task(fresh, path)
    assert torch.equal(outputs(fresh), outputs(trained))


def test_parameters_that_are_unfrozen_later_are_saved_too(
    build: Build, train: Train, path: Path
) -> None:
    model = build()
    model.backbone.trunk.model.norm.requires_grad_(True)
    save_task(train(model), path)
    assert 'backbone.trunk.model.norm.weight' in inspect_task(path)['tensors']
