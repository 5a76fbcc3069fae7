"""Parametrizations of neck and head that do not change the keys of a state dict.

PyTorch renames a parametrized ``conv.weight`` to ``conv.parametrizations.weight.original``. Here
the state dict holds the latent value as ``conv.weight``, so that checkpoints of the float model
load into the quantized model and vice versa.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmqadapter.compat.torch_names import (
    register_load_state_dict_pre_hook,
    register_state_dict_post_hook,
)
from mmqadapter.quant.half import HalfRounding
from mmqadapter.quant.layer_quantizer import LayerQuantizer

Parametrization = LayerQuantizer | HalfRounding


class ParametrizedWeight(NamedTuple):
    """A parametrized parameter.

    Attributes:
        module: Name of the module that has the parameter; empty for the model itself.
        holder: That module.
        parameter: Name of the parameter in ``holder``.
        parametrization: A LayerQuantizer or a HalfRounding.
    """

    module: str
    holder: nn.Module
    parameter: str
    parametrization: Any

    @property
    def latent(self) -> nn.Parameter:
        """The parameter that the optimizer trains."""
        return latent_of(self.holder, self.parameter)


def parametrize_weight(holder: nn.Module, parameter: str, parametrization: Parametrization) -> None:
    """Parametrize one parameter of ``holder``.

    The latent parameter stays the same object, so that an optimizer or DDP that holds it still
    sees its gradient.
    """
    _unshare_class(holder)
    latent = holder.get_parameter(parameter)
    # PyTorch calls `original.set_(original)`, after which DDP would miss the gradient: let it do
    # this to a stand-in, and put the parameter back behind it.
    holder.register_parameter(parameter, nn.Parameter(latent.detach()))
    # Unsafe: nothing is computed now, so that weights may still be constant until they are loaded.
    parametrize.register_parametrization(holder, parameter, parametrization, unsafe=True)
    holder.get_submodule(f'parametrizations.{parameter}').register_parameter('original', latent)
    if _to_plain_names not in holder._state_dict_hooks.values():
        register_state_dict_post_hook(holder, _to_plain_names)
        register_load_state_dict_pre_hook(holder, _from_plain_names)


def parametrized_weights(model: nn.Module) -> Iterator[ParametrizedWeight]:
    """Return all parameters of ``model`` that have a parametrization of this package."""
    for name, module in model.named_modules():
        for parameter in _parametrized_names(module):
            parametrization = module.get_submodule(f'parametrizations.{parameter}.0')
            yield ParametrizedWeight(name, module, parameter, parametrization)


def latent_of(holder: nn.Module, parameter: str) -> Any:
    """Return a parameter or buffer; of a parametrized parameter, the latent one."""
    if parametrize.is_parametrized(holder, parameter):
        return holder.get_parameter(f'parametrizations.{parameter}.original')
    return getattr(holder, parameter)


@torch.no_grad()
def remove_parametrizations(model: nn.Module) -> None:
    """Remove the parametrizations and leave the latent values."""
    for _, holder, parameter, _ in list(parametrized_weights(model)):
        _unshare_class(holder)
        parametrize.remove_parametrizations(holder, parameter, leave_parametrized=False)


@torch.no_grad()
def materialize(model: nn.Module) -> None:
    """Remove the parametrizations and leave the values that the model computed with."""
    # Read all values before writing any, since tied weights share a latent parameter.
    values = [(w.latent, getattr(w.holder, w.parameter)) for w in parametrized_weights(model)]
    remove_parametrizations(model)
    for latent, value in values:
        latent.copy_(value)


@torch.no_grad()
def materialized_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict with the values that ``model`` computes with, not the latent ones."""
    values = {id(w.latent): getattr(w.holder, w.parameter) for w in parametrized_weights(model)}
    state = model.state_dict(keep_vars=True)
    return {name: values.get(id(tensor), tensor).detach() for name, tensor in state.items()}


def _unshare_class(module: nn.Module) -> None:
    """Give a parametrized module a class of its own.

    PyTorch adds properties to the class of a parametrized module, and a deep copy shares this class
    with the original: without this, changing the parametrizations of one would change both.
    """
    kind = type(module)
    if parametrize.is_parametrized(module):
        module.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))


def _parametrized_names(module: nn.Module) -> list[str]:
    """Return the names of parameters of ``module`` with a parametrization of this package."""
    if not parametrize.is_parametrized(module):
        return []
    chains: Any = module.parametrizations
    return [name for name, chain in chains.items() if isinstance(chain[0], Parametrization)]


def _to_plain_names(module: nn.Module, state: dict, prefix: str, metadata: dict) -> None:
    for name in _parametrized_names(module):
        latent = f'{prefix}parametrizations.{name}.original'
        if latent in state:
            state[prefix + name] = state.pop(latent)


def _from_plain_names(module: nn.Module, state: dict, prefix: str, *args: Any) -> None:
    for name in _parametrized_names(module):
        if prefix + name in state:
            state[f'{prefix}parametrizations.{name}.original'] = state.pop(prefix + name)
