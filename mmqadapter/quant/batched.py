"""Quantize weights of equal shape with equal quantizers in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmqadapter.quant.quantizer import GaussianQuantizer


class QuantizedWeight(NamedTuple):
    """A quantized weight of a layer.

    Attributes:
        name: Name of the layer in the module that was searched.
        quantizer: Quantizer of the weight.
        latent: The float parameter that trains.
    """

    name: str
    quantizer: GaussianQuantizer
    latent: nn.Parameter

    @property
    def kind(self) -> tuple[Any, ...]:
        """Key that is equal for weights that can be quantized in one call."""
        latent = self.latent
        return *self.quantizer.kind, latent.shape, latent.dtype, latent.device


def quantized_weights(module: nn.Module) -> Iterator[QuantizedWeight]:
    """Return all quantized weights of a module, in the order of its layers."""
    for name, layer in module.named_modules():
        if parametrize.is_parametrized(layer, 'weight'):
            chain: Any = layer.parametrizations['weight']
            if isinstance(chain[0], GaussianQuantizer):
                yield QuantizedWeight(name, chain[0], chain.original)


def check_quantized_weights(module: nn.Module) -> None:
    """Check that all quantized weights of a module can be quantized.

    Raises:
        ValueError: A weight is constant, or holds NaN or inf; its layer is named.
    """
    for weight in quantized_weights(module):
        try:
            weight.quantizer.check_weight(weight.latent)
        except ValueError as error:
            raise ValueError(f'{weight.name}: {error}') from error


def quantize_batched(module: nn.Module) -> None:
    """Quantize all weights of a training module in a few calls and cache the values in its layers.

    Weights of equal shape, dtype, device and quantizer share a call. Folded weights are left out.
    In eval mode or without gradients nothing is cached, and each layer quantizes its own weight.
    """
    batched = module.training and torch.is_grad_enabled()
    groups: dict[tuple[Any, ...], list[QuantizedWeight]] = {}
    for weight in quantized_weights(module):
        weight.quantizer.cached.clear()
        if batched and weight.quantizer.folded is None:
            groups.setdefault(weight.kind, []).append(weight)
    for group in groups.values():
        _quantize(group)


def _quantize(group: Sequence[QuantizedWeight]) -> None:
    values = group[0].quantizer.quantize([weight.latent for weight in group])
    for weight, value in zip(group, values, strict=True):
        weight.quantizer.cached.put(weight.latent, value)


class CachedWeights:
    """Snapshot of the quantized weights that are cached in the layers of a module.

    A forward pass that is recomputed in backward then reads the same tensors as the first one.

    Args:
        module: Module that contains the layers.
    """

    def __init__(self, module: nn.Module) -> None:
        # A layer in eval mode does not read the cache: its gradients end at the latent weight.
        weights = [w for w in quantized_weights(module) if w.quantizer.training]
        caches = [(w.quantizer.cached, w.latent) for w in weights]
        self._cached = [(cache, latent, cache.get(latent)) for cache, latent in caches]

    def trained(self, module: nn.Module) -> list[Tensor]:
        """Return the tensors at which gradients of a forward pass of ``module`` end.

        These are its parameters that train, each replaced by its quantized value where that is
        cached.
        """
        values = {latent: value for _, latent, value in self._cached if value is not None}
        return [values.get(p, p) for p in module.parameters() if p.requires_grad]

    def restore(self) -> None:
        """Put the values back into the caches of the layers."""
        for cache, latent, value in self._cached:
            if value is not None:
                cache.put(latent, value)
