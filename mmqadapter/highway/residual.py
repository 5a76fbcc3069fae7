"""h + A(x) in one pass over h, which keeps x alone for the backward pass.

An adapter ends in a projection W z + b of few hidden channels, so what it adds need not exist: the
product [W b] [z 1]^T is accumulated into h where h lies. The backward pass computes z again, but
neither the projection nor the sum.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmqadapter.adapters import TokenAdapter
from mmqadapter.highway.recompute import RepeatableCall
from mmqadapter.highway.saved_taps import TapFormat
from mmqadapter.quant import GivenWeights


class Residual:
    """Adds an adapter's output to the side stream, in place where shapes and dtypes allow.

    Kept for backward are the adapter's input, in a format of choice, and weights. Dropout draws the
    same numbers again, and autocast is as it was. Gradients of gradients are refused.

    Args:
        tap_format: In which form the input is kept.
    """

    def __init__(self, tap_format: type[TapFormat]) -> None:
        self.tap_format = tap_format

    def __call__(self, h: Tensor, adapter: TokenAdapter, x: Tensor, *grid: Any) -> Tensor:
        """``h + adapter(x, *grid)``, (B, L, C).

        In training ``h`` changes, unless it is of shape (1, 1, 1).
        """
        given = GivenWeights(adapter)
        trained = given.trained(adapter)
        if not (torch.is_grad_enabled() and (trained or x.requires_grad)):
            return h + adapter(x, *grid)  # as it is written: an exported graph has its weights
        weight, bias = adapter.last_projection()
        weight, bias = adapter.scale(weight), None if bias is None else adapter.scale(bias)
        call = RepeatableCall(adapter, adapter.hidden, grid, given)
        return _Added.apply(call, self.tap_format, h, x, weight, bias, *trained)


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        call: RepeatableCall,
        tap_format: type[TapFormat],
        h: Tensor,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *trained: Tensor,
    ) -> Tensor:
        ctx.call, ctx.tap_format, ctx.dtype, ctx.shape = call, tap_format, x.dtype, h.shape
        packed = tap_format.pack(x)
        ctx.packed, ctx.bias = len(packed), bias is not None
        ctx.save_for_backward(*packed, weight, *trained)
        output = _add(h, call.first(x), weight, bias)
        if output is h:
            ctx.mark_dirty(h)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), packed = grads, ctx.saved_tensors[: ctx.packed]
        weight, *trained = ctx.saved_tensors[ctx.packed :]
        x = ctx.tap_format.unpack(packed, ctx.dtype).detach()
        x.requires_grad_(ctx.needs_input_grad[3])
        z = ctx.call.again(x)
        of_weight, of_bias = _of_projection(grad, z.detach(), ctx.bias)
        of_z = (grad @ weight.to(grad.dtype)).to(z.dtype)
        wanted = [t for t in (x, *trained) if t.requires_grad]
        found = iter(torch.autograd.grad(z, wanted, of_z, allow_unused=True))
        of_x, *others = (next(found) if t.requires_grad else None for t in (x, *trained))
        of_h = grad.sum_to_size(ctx.shape) if ctx.needs_input_grad[2] else None
        of_weight = of_weight.to(weight.dtype)
        return None, None, of_h, of_x, of_weight, of_bias, *others


def _add(h: Tensor, z: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``h`` + W z + b, which is ``h`` itself wherever that can hold it."""
    dtype = torch.promote_types(h.dtype, z.dtype)
    factors = (_with_one(z, bias is not None).to(dtype), _joined(weight, bias).to(dtype))
    shape = (*z.shape[:-1], len(weight))
    if h.shape != shape or h.dtype != dtype or not h.is_contiguous():
        return F.linear(*factors) + h
    h.view(-1, shape[-1]).addmm_(factors[0].flatten(0, -2), factors[1].t())
    return h


def _of_projection(grad: Tensor, z: Tensor, bias: bool) -> tuple[Tensor, Tensor | None]:
    """Gradients of W and b, given that of W z + b."""
    factor = _with_one(z, bias).to(grad.dtype).flatten(0, -2)
    both = grad.flatten(0, -2).t() @ factor
    return (both[:, :-1], both[:, -1]) if bias else (both, None)


def _with_one(z: Tensor, bias: bool) -> Tensor:
    return F.pad(z, (0, 1), value=1.0) if bias else z


def _joined(weight: Tensor, bias: Tensor | None) -> Tensor:
    return weight if bias is None else torch.cat([weight, bias[:, None]], 1)
