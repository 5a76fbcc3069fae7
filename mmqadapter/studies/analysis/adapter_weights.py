"""The weights of a model that its tuning trained in the backbone, as the studies see them."""

from __future__ import annotations

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
LEAST_DIMENSIONS = 2  # biases, norms and scales stay, as in the landscapes of arXiv 1712.09913
REMEDY = (
    'give the training checkpoint (*.pth), which keeps the float weights behind the quantiser, or '
    'a task of 32 bits'
)


def tuned_weights(model: nn.Module, kind: str = DECODED) -> dict[str, nn.Parameter]:
    """Weights (two dimensions or more) that tuning trained in the backbone, by name.

    These are the adapters', or in a model without a wrapper all of the backbone's.

    Args:
        model: A detector or segmentor. With ``'decoded'`` its quantisers are taken off for good:
            it computes the same, and the weights it computes with are plain parameters.
        kind: Of quantised adapters: ``'decoded'``, what the network multiplies by, or ``'latent'``,
            the float weights behind the quantiser, which stays in place.

    Raises:
        ValueError: An unknown ``kind``, no backbone, or latent weights that no one knows.
    """
    if kind not in WEIGHTS:
        raise ValueError(f'weights={kind!r} are unknown; use one of {WEIGHTS}.')
    if tuned_backbone(model) is None:
        return _matrices(_backbone(model))
    adapters = require_adapters(model)
    if kind == LATENT:
        require_latent(adapters)
    else:
        take_off_quantizers(adapters)
    return _matrices(adapters)


def require_adapters(model: nn.Module) -> nn.Module:
    """The adapters of a model.

    Raises:
        ValueError: It has none.
    """
    backbone: Any = tuned_backbone(model)
    if backbone is None or not any(True for _ in backbone.adapters.parameters()):
        raise ValueError(
            f'{type(backbone or model).__name__} has no adapters to study; give the config and the '
            'task file of an AdaptedBackbone or a HighwayBackbone.'
        )
    return backbone.adapters


def require_latent(adapters: nn.Module) -> None:
    """Check that the float weights behind each quantiser are those of the training.

    Raises:
        ValueError: They came from a task file, which holds codes alone.
    """
    for name, quantizer, _ in quantized_weights(adapters):
        if quantizer.folded is not None:
            raise ValueError(
                f'the task file has {quantizer.bits} bits for each weight of {name!r} and no float '
                f'weights; {REMEDY}.'
            )


def float_matrices(adapters: nn.Module) -> dict[str, Tensor]:
    """Copies of the float weights that a quantiser sits on, or may sit on, by name.

    Raises:
        ValueError: See :func:`require_latent`.
    """
    require_latent(adapters)
    weights = _matrices(adapters)
    return {name: weights[name].detach().clone() for name in quantizable(adapters)}


def quantizable(adapters: nn.Module) -> list[str]:
    """Names of the weights that a quantiser sits on, or would if there were one."""
    names = [f'{name}.weight' for name, *_ in quantized_weights(adapters)]
    return names or _if_quantized(adapters)


@torch.no_grad()
def take_off_quantizers(adapters: nn.Module) -> None:
    """Make the quantised values of all weights plain parameters."""
    for name, *_ in list(quantized_weights(adapters)):
        parametrize.remove_parametrizations(
            adapters.get_submodule(name), 'weight', leave_parametrized=True
        )


def _if_quantized(adapters: nn.Module) -> list[str]:
    """By quantising a copy: each adapter, merging or stem knows best which weights it gives."""
    copy = deepcopy(adapters)
    parts: list[Any] = [module for module in copy.modules() if hasattr(module, 'quantize')]
    for part in parts:
        _randomize(part)
        part.quantize(dict(type='GaussianQuantizer', bits=8))
    return [f'{name}.weight' for name, *_ in quantized_weights(copy)]


@torch.no_grad()
def _randomize(module: nn.Module) -> None:
    """A quantiser refuses a constant weight, such as one that has not trained yet."""
    with seeded(0):
        for parameter in module.parameters():
            nn.init.normal_(parameter)


def _matrices(module: nn.Module) -> dict[str, nn.Parameter]:
    return {
        name.replace('parametrizations.weight.original', 'weight'): parameter
        for name, parameter in module.named_parameters()
        if parameter.ndim >= LEAST_DIMENSIONS
    }


def _backbone(model: nn.Module) -> nn.Module:
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, nn.Module):
        raise ValueError(f'{type(model).__name__} has no backbone; give a detector or segmentor.')
    return backbone
