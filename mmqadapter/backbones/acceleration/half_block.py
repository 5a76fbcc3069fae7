"""Blocks of a frozen trunk in half precision, or with 8-bit linear layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn

from mmqadapter.backbones.acceleration.class_swap import FastForward, specialize
from mmqadapter.backbones.acceleration.fused_multihead import ContiguousAttention
from mmqadapter.backbones.acceleration.int8_linear import is_float_linear, store_int8

SINGLE = torch.float32
# Dtype of the computation, where it is another one than that of storage.
COMPUTED_IN = {torch.int8: torch.bfloat16}
MATRICES = (nn.Linear, nn.Conv2d, nn.MultiheadAttention)


class HalfBlock(FastForward):
    """Forward of a block under autocast, whose matrices already have the dtype of autocast.

    What autocast does not cast stays in single precision: the residual stream, norms and scales.
    Where a block leaves the stream in half precision (convolutions, TinyViT), it is cast back.
    """

    half_dtype: torch.dtype

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the stock block under autocast; its first argument must be a tensor."""
        with torch.autocast(args[0].device.type, self.half_dtype):
            output = super().forward(*args, **kwargs)
        single = isinstance(output, torch.Tensor) and args[0].dtype == SINGLE
        return output.float() if single else output


def store_blocks(
    blocks: Iterable[Any], dtype: torch.dtype, bypassed: Collection[nn.Module] = ()
) -> None:
    """Store the frozen matrices and biases of blocks in a dtype, and compute in it.

    Parameters that train, norms, scales and position biases stay as they are. With ``float32``
    nothing changes. With ``int8`` the weights of linear layers become codes; convolutions, fused
    projections of ``nn.MultiheadAttention``, layers in ``bypassed`` (whose weight is read without a
    call) and biases become bfloat16, which is also the dtype of the computation.

    Raises:
        ValueError: ``int8`` without torchao.
    """
    half = COMPUTED_IN.get(dtype, dtype)
    for block in blocks if dtype != SINGLE else ():
        for module in block.modules():
            called = is_float_linear(module) and module not in bypassed
            if dtype == torch.int8 and called and not module.weight.requires_grad:
                store_int8(module)
            if isinstance(module, MATRICES):
                _cast_frozen(module, half)
            if isinstance(module, nn.MultiheadAttention) and not isinstance(
                module, ContiguousAttention
            ):
                specialize(module, ContiguousAttention)
        block.half_dtype = half
        specialize(block, HalfBlock)


def _cast_frozen(module: nn.Module, dtype: torch.dtype) -> None:
    for parameter in module.parameters(recurse=False):
        if parameter.is_floating_point() and not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
