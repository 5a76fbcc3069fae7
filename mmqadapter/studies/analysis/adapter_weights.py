"""Weights that the tuning of a model trained in its backbone, as the studies see them."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmqadapter.quant import quantized_weights
from mmqadapter.utils.random_state import seeded
from mmqadapter.utils.tuned_backbone import tuned_backbone

DECODED, LATENT = 'decoded', 'latent'
WEIGHTS = (DECODED, LATENT)
MIN_DIMENSIONS = 2  # excludes biases, norms and scales, as the landscapes of arXiv 1712.09913 do
REMEDY = (
    'give the training checkpoint (*.pth), which has the float weights behind the quantizer, or '
    'a task of 32 bits'
)


def tuned_weights(model: nn.Module, kind: str = DECODED) -> dict[str, nn.Parameter]:
    """Return the weights of two dimensions or more that tuning trained in the backbone, by name.

    These are the weights of the adapters or, in a model without a wrapper, of the whole backbone.
    Vectors are among them where they are what the adapter would quantize (SSF, BitFit).

    Args:
        model: A detector or segmentor. With ``'decoded'`` its quantizers are removed for good: it
            computes the same, and the weights that it computes with become plain parameters.
        kind: For quantized adapters: ``'decoded'``, the weights that the network computes with,
            or ``'latent'``, the float weights behind the quantizer, which stays in place.

    Raises:
        ValueError: ``kind`` is unknown, the model has no backbone, or the latent weights are not
            available.
    """
    if kind not in WEIGHTS:
        raise ValueError(f'weights={kind!r} is invalid: expected one of {WEIGHTS}.')
    if tuned_backbone(model) is None:
        return _matrices(_backbone(model))
    adapters = require_adapters(model)
    names = quantizable_names(adapters)
    if kind == LATENT:
        require_latent(adapters)
    else:
        remove_quantizers(adapters)
    return _matrices(adapters, names)


def require_adapters(model: nn.Module) -> nn.Module:
    """Return the adapters of a model.

    Raises:
        ValueError: The model has none.
    """
    backbone: Any = tuned_backbone(model)
    if backbone is None or not any(True for _ in backbone.adapters.parameters()):
        raise ValueError(
            f'{type(backbone or model).__name__} has no adapters to study; give the config and the '
            'task file of an AdaptedBackbone or a HighwayBackbone.'
        )
    return backbone.adapters


def require_latent(adapters: nn.Module) -> None:
    """Check that the float weights behind each quantizer are those of the training.

    Raises:
        ValueError: The weights come from a task file, which stores only codes.
    """
    for name, quantizer, _ in quantized_weights(adapters):
        if quantizer.folded is not None:
            raise ValueError(
                f'the task file has {quantizer.bits} bits for each weight of {name!r} and no float '
                f'weights; {REMEDY}.'
            )


def float_matrices(adapters: nn.Module) -> dict[str, Tensor]:
    """Return copies of the float weights that are quantized, or could be, by name.

    Raises:
        ValueError: See :func:`require_latent`.
    """
    require_latent(adapters)
    names = quantizable_names(adapters)
    weights = _matrices(adapters, names)
    return {name: weights[name].detach().clone() for name in names}


def quantizable_names(adapters: nn.Module) -> list[str]:
    """Return the names of the weights that are quantized, or that a quantizer would quantize."""
    names = [f'{name}.weight' for name, *_ in quantized_weights(adapters)]
    return names or _names_in_quantized_copy(adapters)


@torch.no_grad()
def remove_quantizers(adapters: nn.Module) -> None:
    """Replace each quantized weight by a plain parameter with the same values."""
    for name, *_ in list(quantized_weights(adapters)):
        parametrize.remove_parametrizations(
            adapters.get_submodule(name), 'weight', leave_parametrized=True
        )


def _names_in_quantized_copy(adapters: nn.Module) -> list[str]:
    """Quantize a copy: each adapter, merging layer or stem selects its own weights."""
    copy = deepcopy(adapters)
    parts: list[Any] = [module for module in copy.modules() if hasattr(module, 'quantize')]
    for part in parts:
        _randomize(part)
        part.quantize(dict(type='GaussianQuantizer', bits=8))
    return [f'{name}.weight' for name, *_ in quantized_weights(copy)]


@torch.no_grad()
def _randomize(module: nn.Module) -> None:
    """Draw all weights anew: a quantizer refuses constant ones, such as untrained zeros."""
    with seeded(0):
        for parameter in module.parameters():
            nn.init.normal_(parameter)


def _matrices(module: nn.Module, also: Collection[str] = ()) -> dict[str, nn.Parameter]:
    named = (
        (name.replace('parametrizations.weight.original', 'weight'), parameter)
        for name, parameter in module.named_parameters()
    )
    return {n: p for n, p in named if p.ndim >= MIN_DIMENSIONS or n in also}


def _backbone(model: nn.Module) -> nn.Module:
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, nn.Module):
        raise ValueError(f'{type(model).__name__} has no backbone; give a detector or segmentor.')
    return backbone
