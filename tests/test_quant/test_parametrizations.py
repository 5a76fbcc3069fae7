"""Parametrizations: keys of state dicts, identity of parameters, copies, removal."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from torch import Tensor, nn

from mmqadapter.quant import (
    HalfRounding,
    LayerQuantizer,
    latent_of,
    materialize,
    materialized_state_dict,
    parametrize_weight,
    parametrized_weights,
    remove_parametrizations,
)

X = torch.linspace(-1, 1, 2 * 3 * 5 * 5).view(2, 3, 5, 5)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 2, 2)).eval()


def parametrized_net() -> nn.Sequential:
    model = net()
    parametrize_weight(model[0], 'weight', LayerQuantizer(2))
    parametrize_weight(model[0], 'bias', HalfRounding())
    parametrize_weight(model[1], 'weight', HalfRounding())
    parametrize_weight(model[2], 'weight', LayerQuantizer(1, output_dim=1))
    return model


@torch.no_grad()
def out(model: nn.Module) -> Tensor:
    return model(X)


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_parametrizations_change_the_output() -> None:
    assert not torch.equal(out(parametrized_net()), out(net()))
    weights = parametrized_weights(parametrized_net())
    assert [(w.module, w.parameter, type(w.parametrization)) for w in weights] == [
        ('0', 'weight', LayerQuantizer),
        ('0', 'bias', HalfRounding),
        ('1', 'weight', HalfRounding),
        ('2', 'weight', LayerQuantizer),
    ]


def test_a_weight_may_be_constant_until_it_is_loaded() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    parametrize_weight(layer, 'weight', LayerQuantizer(1))
    layer.load_state_dict(nn.Linear(3, 2).state_dict())
    assert len(layer.weight[0].unique()) == 2


@pytest.mark.parametrize('state_of', [nn.Module.state_dict, get_state_dict])
def test_state_dict_has_the_usual_names_and_the_latent_values(state_of) -> None:
    assert equal(state_of(parametrized_net()), net().state_dict())
    assert equal(nn.Sequential(parametrized_net()).state_dict(), nn.Sequential(net()).state_dict())


@pytest.mark.parametrize('strict', [True, False])
def test_weights_load_from_and_into_a_float_model(strict: bool) -> None:
    moved = {name: tensor + 1 for name, tensor in net().state_dict().items()}
    model, plain = parametrized_net(), net()
    assert model.load_state_dict(moved, strict=strict) == ([], [])
    assert equal(model.state_dict(), moved)
    plain.load_state_dict(model.state_dict())
    assert equal(plain.state_dict(), moved)
    load_state_dict(model, net().state_dict(), strict=True)  # mmengine's own
    assert equal(model.state_dict(), net().state_dict())


def test_parameters_stay_the_same_objects() -> None:
    model = net()
    before = {id(parameter) for parameter in model.parameters()}
    parametrize_weight(model[0], 'weight', LayerQuantizer(2))
    assert {id(parameter) for parameter in model.parameters()} == before
    assert (
        id(latent_of(model[0], 'weight')) in before and latent_of(model[0], 'bias') is model[0].bias
    )
    remove_parametrizations(model)
    assert {id(parameter) for parameter in model.parameters()} == before
    assert equal(model.state_dict(), net().state_dict()) and torch.equal(out(model), out(net()))


def test_gradients_reach_hooks_registered_before() -> None:
    model, seen = net(), []
    listen = model[0].weight.register_post_accumulate_grad_hook(seen.append)
    accumulate = model[0].weight.view_as(model[0].weight).grad_fn.next_functions[0][0]
    accumulate.register_hook(lambda *grads: seen.append('accumulated'))  # as DDP's reducer does
    parametrize_weight(model[0], 'weight', LayerQuantizer(2))
    model(X).sum().backward()
    assert len(seen) == 2 and 'accumulated' in seen
    listen.remove()


def test_materializing_leaves_the_computed_values() -> None:
    model, plain, expected = parametrized_net(), net(), out(parametrized_net())
    state = materialized_state_dict(model)
    assert not any(tensor.requires_grad for tensor in state.values())
    plain.load_state_dict(state)
    assert torch.equal(out(plain), expected)
    assert torch.equal(out(model), expected) and list(parametrized_weights(model))
    materialize(model)
    assert torch.equal(out(model), expected) and not list(parametrized_weights(model))
    assert equal(model.state_dict(), plain.state_dict())


def test_a_deep_copy_is_independent() -> None:
    model, expected = parametrized_net(), out(parametrized_net())
    twin = copy.deepcopy(model)
    materialize(twin)
    assert torch.equal(out(model), expected) and torch.equal(out(twin), expected)
    parametrize_weight(norm := copy.deepcopy(model)[1], 'bias', HalfRounding())
    assert norm.bias is not None and torch.equal(out(model), expected)


def test_tied_weights_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    for layer in model:
        parametrize_weight(layer, 'weight', LayerQuantizer(1))
    expected = model(torch.ones(4))
    materialize(model)
    assert model[0].weight is model[1].weight
    assert torch.equal(model(torch.ones(4)), expected)
