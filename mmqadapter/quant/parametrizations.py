"""Storage forms: parametrisations of neck and head that leave a state dict's names alone.

A parametrised ``conv.weight`` is called ``conv.parametrizations.weight.original`` by PyTorch. Here
a state dict keeps ``conv.weight``, the latent value, so that checkpoints of the float model load
into the quantised one and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmqadapter.quant.half import HalfRounding
from mmqadapter.quant.layer_quantizer import LayerQuantizer

FORMS = (LayerQuantizer, HalfRounding)


class ParametrizedWeight(NamedTuple):
    """A parameter with a storage form.

    Attributes:
        module: Name of the module that holds it; empty for the model itself.
        holder: That module.
        parameter: The parameter's name there.
        form: A LayerQuantizer or a HalfRounding.
    """

    module: str
    holder: nn.Module
    parameter: str
    form: Any

    @property
    def latent(self) -> nn.Parameter:
        """What the optimiser sees."""
        return latent_of(self.holder, self.parameter)


def parametrize_weight(
    holder: nn.Module, parameter: str, form: LayerQuantizer | HalfRounding
) -> None:
    """Let ``holder`` compute with the stored form of a parameter.

    The parameter stays the object that an optimiser and DDP hold.
    """
    _unshare_class(holder)
    latent = holder.get_parameter(parameter)
    # PyTorch writes the parameter to itself, by which DDP would lose sight of its gradient.
    holder.register_parameter(parameter, nn.Parameter(latent.detach()))
    # Unsafe: nothing is computed now, so that weights may still be constant until they are loaded.
    parametrize.register_parametrization(holder, parameter, form, unsafe=True)
    holder.get_submodule(f'parametrizations.{parameter}').register_parameter('original', latent)
    if _to_plain_names not in holder._state_dict_hooks.values():
        holder.register_state_dict_post_hook(_to_plain_names)
        holder.register_load_state_dict_pre_hook(_from_plain_names)


def parametrized_weights(model: nn.Module) -> Iterator[ParametrizedWeight]:
    """All storage forms in ``model``."""
    for name, module in model.named_modules():
        for parameter in _formed(module):
            form = module.get_submodule(f'parametrizations.{parameter}.0')
            yield ParametrizedWeight(name, module, parameter, form)


def latent_of(holder: nn.Module, parameter: str) -> Any:
    """The parameter itself, behind a storage form where it has one; or a buffer of its name."""
    if parametrize.is_parametrized(holder, parameter):
        return holder.get_parameter(f'parametrizations.{parameter}.original')
    return getattr(holder, parameter)


@torch.no_grad()
def remove_parametrizations(model: nn.Module) -> None:
    """Take the storage forms away; the latent values stay."""
    for _, holder, parameter, _ in list(parametrized_weights(model)):
        _unshare_class(holder)
        parametrize.remove_parametrizations(holder, parameter, leave_parametrized=False)


@torch.no_grad()
def materialize(model: nn.Module) -> None:
    """Take the storage forms away and leave the values that they gave."""
    # All values first: one latent may be shared, as by tied weights.
    values = [(a.latent, getattr(a.holder, a.parameter)) for a in parametrized_weights(model)]
    remove_parametrizations(model)
    for latent, value in values:
        latent.copy_(value)


@torch.no_grad()
def materialized_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """State dict with the values that ``model`` computes with, in place of latent ones."""
    values = {id(a.latent): getattr(a.holder, a.parameter) for a in parametrized_weights(model)}
    state = model.state_dict(keep_vars=True)
    return {name: values.get(id(tensor), tensor).detach() for name, tensor in state.items()}


def _unshare_class(module: nn.Module) -> None:
    """Let a deep copy change its parametrisations; PyTorch leaves it the class of the original."""
    kind = type(module)
    if parametrize.is_parametrized(module):
        module.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))


def _formed(module: nn.Module) -> list[str]:
    """Names of the parameters of ``module`` that have a storage form."""
    if not parametrize.is_parametrized(module):
        return []
    chains: Any = module.parametrizations
    return [name for name, chain in chains.items() if isinstance(chain[0], FORMS)]


def _to_plain_names(module: nn.Module, state: dict, prefix: str, metadata: dict) -> None:
    for name in _formed(module):
        latent = f'{prefix}parametrizations.{name}.original'
        if latent in state:
            state[prefix + name] = state.pop(latent)


def _from_plain_names(module: nn.Module, state: dict, prefix: str, *args: Any) -> None:
    for name in _formed(module):
        if prefix + name in state:
            state[f'{prefix}parametrizations.{name}.original'] = state.pop(prefix + name)
