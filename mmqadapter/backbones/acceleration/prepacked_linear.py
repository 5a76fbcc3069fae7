"""Frozen linear layers on a CPU that multiply with prepacked weights.

A prepacked weight is a copy in the blocked layout that the kernels of oneDNN read, with which they
multiply faster. It is only for frozen weights: of one that trains, the copy would be outdated after
each step.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmqadapter.backbones.acceleration.chunks import CHUNK
from mmqadapter.backbones.acceleration.class_swap import FastForward, specialize
from mmqadapter.backbones.acceleration.int8_linear import is_float_linear
from mmqadapter.utils.autocast import AutocastState
from mmqadapter.utils.tensor_cache import TensorCache, is_traced

PREPACKED_DTYPES = (torch.float32, torch.bfloat16)


class PrepackedLinear(FastForward):
    """Frozen linear layer that multiplies with a prepacked copy of its weight.

    The weight itself stays, for checkpoints and for the cases in which the stock forward runs:
    other devices, other dtypes, compiled and exported graphs, and gradients of the layer's own
    parameters.
    """

    weight: Tensor
    bias: Tensor | None
    _cache: TensorCache

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C_in) to (..., C_out), in the dtype of autocast or else of ``x``."""
        if not self._can_multiply(x):
            return super().forward(x)
        x, prepacked = x.to(self.weight.dtype), self._cache.get(self._prepack, self.weight)
        if x.requires_grad and torch.is_grad_enabled():
            return _PrepackedProduct.apply(x, prepacked, self.weight, self.bias)
        return _multiply(x, prepacked, self.bias)

    def _can_multiply(self, x: Tensor) -> bool:
        """Return whether the prepacked weight is of use for ``x``."""
        if x.device.type != 'cpu' or self.weight.device.type != 'cpu' or is_traced():
            return False
        trained = any(p.requires_grad for p in self.parameters(recurse=False))
        return not (trained and torch.is_grad_enabled()) and self._has_dtype_of(x)

    def _has_dtype_of(self, x: Tensor) -> bool:
        """Return whether the weight has the dtype of autocast, or of ``x`` without autocast."""
        autocast = AutocastState.capture('cpu')
        dtype = autocast.dtype if autocast.enabled else x.dtype
        return dtype == self.weight.dtype and dtype in PREPACKED_DTYPES

    def _prepack(self) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), CHUNK)


class _PrepackedProduct(torch.autograd.Function):
    """x W^T + b; backward multiplies with the stock weight."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, prepacked: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(weight)
        return _multiply(x, prepacked, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        return grad @ weight, None, None, None


def prepack_weights(trunk: nn.Module, bypassed: Collection[nn.Module] = ()) -> None:
    """Let frozen linear layers of a trunk, but for ``bypassed``, multiply with prepacked weights.

    If PyTorch has no oneDNN, a warning is logged and the layers stay as they are.
    """
    if not can_prepack():
        print_log(
            'trunk.prepacked=True has no effect: this PyTorch has no oneDNN.',
            logger='current', level=logging.WARNING,
        )  # fmt: skip
        return
    linear = (module for module in trunk.modules() if is_float_linear(module))
    layers: list[Any] = [module for module in linear if module not in bypassed]
    for layer in layers:
        if not any(parameter.requires_grad for parameter in layer.parameters()):
            layer._cache = TensorCache()
            specialize(layer, PrepackedLinear)


def can_prepack() -> bool:
    """Return whether this PyTorch can prepack weights, with operators made for its compiler."""
    operators = ('_reorder_linear_weight', '_linear_pointwise')
    available = torch.backends.mkldnn.is_available()
    return available and all(hasattr(torch.ops.mkldnn, name) for name in operators)


def _multiply(x: Tensor, prepacked: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, prepacked, bias, 'none', [], '')
