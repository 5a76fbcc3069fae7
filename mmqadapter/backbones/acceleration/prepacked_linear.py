"""Linear layers of a frozen trunk on a CPU, with weights laid out once for its matrix products.

oneDNN multiplies a weight faster if that lies in the blocks its kernels read; of a weight that
trains such a copy would be out of date after each step.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmqadapter.backbones.acceleration.autocast import AutocastState
from mmqadapter.backbones.acceleration.chunks import CHUNK
from mmqadapter.backbones.acceleration.class_swap import FastForward, specialize
from mmqadapter.backbones.acceleration.int8_linear import is_float_linear
from mmqadapter.utils.tensor_cache import TensorCache, is_traced

PREPACKED_DTYPES = (torch.float32, torch.bfloat16)


class PrepackedLinear(FastForward):
    """A frozen linear layer that multiplies with a packed copy of its weight.

    The weight itself stays, for checkpoints, and for what the copy is not for: other devices,
    other dtypes, compiled and exported graphs, and gradients of the layer's own parameters.
    """

    weight: Tensor
    bias: Tensor | None
    _cache: TensorCache

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) to (..., C_out), in the dtype of autocast or of ``x``."""
        if not self._takes(x):
            return super().forward(x)
        x, packed = x.to(self.weight.dtype), self._cache.get(self._pack, self.weight)
        if x.requires_grad and torch.is_grad_enabled():
            return _Packed.apply(x, packed, self.weight, self.bias)
        return _multiply(x, packed, self.bias)

    def _takes(self, x: Tensor) -> bool:
        if x.device.type != 'cpu' or self.weight.device.type != 'cpu' or is_traced():
            return False
        trained = any(p.requires_grad for p in self.parameters(recurse=False))
        return not (trained and torch.is_grad_enabled()) and self._computed_in(x)

    def _computed_in(self, x: Tensor) -> bool:
        """Whether autocast, or ``x`` without it, is in the dtype of the weight."""
        autocast = AutocastState.capture('cpu')
        dtype = autocast.dtype if autocast.enabled else x.dtype
        return dtype == self.weight.dtype and dtype in PREPACKED_DTYPES

    def _pack(self) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), CHUNK)


class _Packed(torch.autograd.Function):
    """x W^T + b; the gradient of x comes from the weight as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _multiply(x, packed, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        return grad @ weight, None, None, None


def prepack_weights(trunk: nn.Module) -> None:
    """Multiply with packed weights in the frozen linear layers of a trunk.

    Where PyTorch comes without oneDNN a warning says so, and they compute as they are.
    """
    if not can_prepack():
        print_log(
            'trunk.prepacked=True has no effect: this PyTorch has no oneDNN.',
            logger='current', level=logging.WARNING,
        )  # fmt: skip
        return
    layers: list[Any] = [module for module in trunk.modules() if is_float_linear(module)]
    for layer in layers:
        if not any(parameter.requires_grad for parameter in layer.parameters()):
            layer._cache = TensorCache()
            specialize(layer, PrepackedLinear)


def can_prepack() -> bool:
    """Whether PyTorch can lay out weights: its operators for it are those of its own compiler."""
    operators = ('_reorder_linear_weight', '_linear_pointwise')
    here = torch.backends.mkldnn.is_available()
    return here and all(hasattr(torch.ops.mkldnn, name) for name in operators)


def _multiply(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, 'none', [], '')
