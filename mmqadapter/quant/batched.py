"""Matrices of equal shape and equal quantisers, quantised in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmqadapter.quant.quantizer import GaussianQuantizer


class QuantizedWeight(NamedTuple):
    """A quantised weight of a layer: its name in some module, quantiser and latent weight."""

    name: str
    quantizer: GaussianQuantizer
    latent: nn.Parameter

    @property
    def kind(self) -> tuple[Any, ...]:
        """What weights share that can be quantised in one call."""
        latent = self.latent
        return *self.quantizer.kind, latent.shape, latent.dtype, latent.device


def quantized_weights(module: nn.Module) -> Iterator[QuantizedWeight]:
    """All quantised weights of a module, in the order of its layers."""
    for name, layer in module.named_modules():
        if parametrize.is_parametrized(layer, 'weight'):
            chain: Any = layer.parametrizations['weight']
            if isinstance(chain[0], GaussianQuantizer):
                yield QuantizedWeight(name, chain[0], chain.original)


def quantize_batched(module: nn.Module) -> None:
    """Quantise all weights of a module that trains in a few calls; its layers then read them.

    Those of a kind share a call; of folded weights, and in eval mode, each layer sees to its own.

    Raises:
        ValueError: A weight is constant, or holds NaN or inf.
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
    """The quantised weights that layers of a module read at one moment, to read them again later.

    Args:
        module: Holds the layers.
    """

    def __init__(self, module: nn.Module) -> None:
        # A layer in eval mode quantises anew, so that its gradients end at the latent weight.
        weights = [w for w in quantized_weights(module) if w.quantizer.training]
        found = [(w.quantizer.cached, w.latent) for w in weights]
        self._cached = [(cached, latent, cached.get(latent)) for cached, latent in found]

    def trained(self, module: nn.Module) -> list[Tensor]:
        """Where gradients of a forward pass end: at parameters, or at weights made of them."""
        instead = {latent: value for _, latent, value in self._cached if value is not None}
        return [instead.get(p, p) for p in module.parameters() if p.requires_grad]

    def restore(self) -> None:
        """Let the layers read them again."""
        for cached, latent, value in self._cached:
            if value is not None:
                cached.put(latent, value)
