"""h + A_1(x_1) + A_2(x_2) + ... in one pass over h, which keeps each x alone for the backward pass.

An adapter ends in a projection W z + b of few hidden channels, so what it adds need not exist: the
product [W_1 W_2 ... b] [z_1 z_2 ... 1]^T, where b is the sum of all, is accumulated into h where h
lies. The backward pass computes each z again, but neither the projections nor the sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmqadapter.adapters import TokenAdapter
from mmqadapter.highway.recompute import Recomputable
from mmqadapter.highway.saved_taps import TapFormat
from mmqadapter.quant import CachedWeights


class FusedResidual:
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
        update = self.update(adapter, x, *grid)
        if update is None:
            return h + adapter(x, *grid)  # as it is written: an exported graph has its weights
        return add_updates(h, [update])

    def update(self, adapter: TokenAdapter, x: Tensor, *grid: Any) -> PendingUpdate | None:
        """``adapter(x, *grid)``, to be added later; None where no gradients are wanted."""
        if not torch.is_grad_enabled():
            return None
        cached = CachedWeights(adapter)
        trained = cached.trained(adapter)
        if not (trained or x.requires_grad):
            return None
        weight, bias = adapter.last_projection()
        call = Recomputable(adapter, adapter.hidden, grid, cached)
        with torch.no_grad():
            packed, z = self.tap_format.pack(x), call.forward(x)
        return PendingUpdate(
            recompute=AdapterRecompute(call, self.tap_format, x.dtype, len(packed), len(trained)),
            z=z,
            packed=packed,
            x=x if x.requires_grad else None,
            weight=adapter.scale(weight),
            bias=None if bias is None else adapter.scale(bias),
            trained=trained,
        )


@dataclass(frozen=True)
class AdapterRecompute:
    """How z is computed again from ``packed`` tensors; it holds none of them itself."""

    call: Recomputable
    tap_format: type[TapFormat]
    dtype: torch.dtype
    packed: int
    trained: int

    def backward(
        self, kept: Iterator[Tensor], of_z: Tensor, x_wanted: bool
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        """z, and gradients of x and of what trains in front of z."""
        packed = tuple(next(kept) for _ in range(self.packed))
        trained = [next(kept) for _ in range(self.trained)]
        x = self.tap_format.unpack(packed, self.dtype).detach().requires_grad_(x_wanted)
        z = self.call.recompute(x)
        wanted = [t for t in (x, *trained) if t.requires_grad]
        of_z = of_z.to(z.dtype).contiguous()
        found = iter(torch.autograd.grad(z, wanted, of_z, allow_unused=True))
        of_x, *others = (next(found) if t.requires_grad else None for t in (x, *trained))
        return z.detach(), of_x, others


@dataclass(frozen=True)
class PendingUpdate:
    """What an adapter adds to a stream, W z + b.

    ``z`` (B, L, r) is on its way, ``packed`` is what is kept of the input, and gradients end at
    ``x`` (None where it has no graph), ``weight`` (C, r), ``bias`` (C,) and ``trained``.
    """

    recompute: AdapterRecompute
    z: Tensor
    packed: tuple[Tensor, ...]
    x: Tensor | None
    weight: Tensor
    bias: Tensor | None
    trained: list[Tensor]


def add_updates(h: Tensor, updates: Sequence[PendingUpdate]) -> Tensor:
    """The stream ``h`` (B, L, C) with all changes; it takes the memory of ``h`` where it may."""
    xs, weights, biases = zip(*((c.x, c.weight, c.bias) for c in updates), strict=True)
    return _Added.apply(
        updates, h, *xs, *weights, *biases, *(t for c in updates for t in c.trained)
    )


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, updates: Sequence[PendingUpdate], h: Tensor, *ends: Tensor | None
    ) -> Tensor:
        ctx.shape, ctx.recompute = h.shape, [update.recompute for update in updates]
        kept = [t for update in updates for t in (*update.packed, *update.trained)]
        ctx.save_for_backward(*(update.weight for update in updates), *kept)
        biases = [update.bias for update in updates if update.bias is not None]
        weight = torch.cat([update.weight for update in updates], 1)
        output = _add(h, torch.cat([update.z for update in updates], -1), weight, biases)
        if output is h:
            ctx.mark_dirty(h)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), count = grads, len(ctx.recompute)
        weights, kept = ctx.saved_tensors[:count], iter(ctx.saved_tensors[count:])
        of_z = grad @ torch.cat(weights, 1).to(grad.dtype)
        of_each = of_z.split([weight.shape[1] for weight in weights], -1)
        wanted = ctx.needs_input_grad[2 : 2 + count]
        found = [
            a.backward(kept, *one) for a, *one in zip(ctx.recompute, of_each, wanted, strict=True)
        ]
        zs, of_xs, of_trained = zip(*found, strict=True)
        of_h = grad.sum_to_size(ctx.shape) if ctx.needs_input_grad[1] else None
        return (
            None,
            of_h,
            *of_xs,
            *_of_weights(grad, zs, weights),
            *_of_biases(ctx, grad),
            *(one for each in of_trained for one in each),
        )


def _add(h: Tensor, z: Tensor, weight: Tensor, biases: Sequence[Tensor]) -> Tensor:
    """``h`` + W z + b, which is ``h`` itself wherever that can hold it."""
    dtype = torch.promote_types(h.dtype, z.dtype)
    if biases:
        z = F.pad(z, (0, 1), value=1.0)
        weight = torch.cat([weight, sum(biases[1:], biases[0])[:, None]], 1)
    shape = (*z.shape[:-1], len(weight))
    if h.shape != shape or h.dtype != dtype or not h.is_contiguous():
        h = h.to(dtype).expand(shape).clone(memory_format=torch.contiguous_format)
    h.view(-1, shape[-1]).addmm_(z.to(dtype).flatten(0, -2), weight.to(dtype).t())
    return h


def _of_weights(grad: Tensor, zs: Sequence[Tensor], weights: Sequence[Tensor]) -> Iterator[Tensor]:
    """Gradients of each W, given that of W_1 z_1 + W_2 z_2 + ..."""
    z = torch.cat(list(zs), -1).flatten(0, -2).to(grad.dtype)
    # As z^T grad, which takes a CPU half the time of grad^T z.
    found = (z.t() @ grad.flatten(0, -2)).split([weight.shape[1] for weight in weights])
    return (one.t().to(weight.dtype) for one, weight in zip(found, weights, strict=True))


def _of_biases(ctx: Any, grad: Tensor) -> Iterator[Tensor | None]:
    """Gradients of each b: equal, but each in memory of its own."""
    count = len(ctx.recompute)
    wanted = ctx.needs_input_grad[2 + 2 * count : 2 + 3 * count]
    found = iter(grad.flatten(0, -2).sum(0).repeat(sum(wanted), 1) if any(wanted) else ())
    return (next(found) if one else None for one in wanted)
