"""h + A_1(x_1) + A_2(x_2) + ... in one pass over h, saving only each x for backward.

An adapter A ends in a projection W z + b of a few hidden channels z, so that its output need not
exist as a tensor: the product [W_1 W_2 ... b] [z_1 z_2 ... 1]^T, where b is the sum of all biases,
is accumulated into h in place. In mixed precision the product exists for a moment, in the precision
of autocast. The backward pass recomputes each z, but neither the projections nor the sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
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
    """Sum of the side stream and an adapter's output, in place if shapes and dtypes allow it.

    Activation memory (saved for backward) is the adapter's input in a chosen format; weights are
    saved as well, without a copy. When the adapter is recomputed, dropout draws the same numbers
    and autocast is as it was. Gradients of gradients raise an error.

    Args:
        tap_format: Format in which the input is saved.
    """

    def __init__(self, tap_format: type[TapFormat]) -> None:
        self.tap_format = tap_format

    def __call__(self, h: Tensor, adapter: TokenAdapter, x: Tensor, *grid: Any) -> Tensor:
        """Return ``h + adapter(x, *grid)``, (B, L, C).

        In training ``h`` is changed in place, unless its shape is (1, 1, 1).
        """
        update = self.update(adapter, x, *grid)
        if update is None:
            return h + adapter(x, *grid)  # the plain sum, so that exported graphs have the weights
        return add_updates(h, [update])

    def update(self, adapter: TokenAdapter, x: Tensor, *grid: Any) -> PendingUpdate | None:
        """Return ``adapter(x, *grid)`` as an update that can be added later.

        None if no gradients are needed: add the adapter's output then.
        """
        if not torch.is_grad_enabled():
            return None
        cached = CachedWeights(adapter)
        trained = cached.trained(adapter)
        if not (trained or x.requires_grad):
            return None
        weight, bias = adapter.last_projection()
        call = Recomputable(adapter, adapter.hidden, grid, cached)
        with torch.no_grad():
            encoded, z = self.tap_format.encode(x), call.forward(x)
        return PendingUpdate(
            recompute=AdapterRecompute(call, self.tap_format, x.dtype, len(encoded), len(trained)),
            z=z,
            encoded=encoded,
            x=x if x.requires_grad else None,
            weight=adapter.scale(weight),
            bias=None if bias is None else adapter.scale(bias),
            trained=trained,
        )


@dataclass(frozen=True)
class AdapterRecompute:
    """Recomputation of an adapter's hidden channels z in backward; it holds no tensors itself.

    Attributes:
        call: The call that gives z.
        tap_format: Format in which the adapter's input x is saved.
        dtype: Dtype of x.
        encoded_count: Number of tensors that x is saved as.
        trained_count: Number of tensors in front of z that get gradients.
    """

    call: Recomputable
    tap_format: type[TapFormat]
    dtype: torch.dtype
    encoded_count: int
    trained_count: int

    def backward(
        self, saved: Iterator[Tensor], grad_z: Tensor, needs_grad_x: bool
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        """Return z, the gradient of x and the gradients of the trained tensors.

        Args:
            saved: Iterator over the saved tensors of all updates; those of this one are taken.
            grad_z: Gradient of z.
            needs_grad_x: Whether the gradient of x is needed.
        """
        encoded = tuple(next(saved) for _ in range(self.encoded_count))
        trained = [next(saved) for _ in range(self.trained_count)]
        x = self.tap_format.decode(encoded, self.dtype).detach().requires_grad_(needs_grad_x)
        z = self.call.recompute(x)
        inputs = [t for t in (x, *trained) if t.requires_grad]
        grad_z = grad_z.to(z.dtype).contiguous()
        grads = iter(torch.autograd.grad(z, inputs, grad_z, allow_unused=True))
        grad_x, *trained_grads = (next(grads) if t.requires_grad else None for t in (x, *trained))
        return z.detach(), grad_x, trained_grads


@dataclass(frozen=True)
class PendingUpdate:
    """An adapter's output W z + b that is still to be added to a stream.

    Attributes:
        recompute: Recomputation of z in backward.
        z: Hidden channels (B, L, r), without a graph.
        encoded: The adapter's input x in the format in which it is saved.
        x: The input x; None if it needs no gradient.
        weight: W (C, r), scaled.
        bias: b (C,), scaled; None if there is none.
        trained: Tensors in front of z that get gradients.
    """

    recompute: AdapterRecompute
    z: Tensor
    encoded: tuple[Tensor, ...]
    x: Tensor | None
    weight: Tensor
    bias: Tensor | None
    trained: list[Tensor]


def add_updates(h: Tensor, updates: Sequence[PendingUpdate]) -> Tensor:
    """Return the stream ``h`` (B, L, C) plus all updates, in the memory of ``h`` if possible."""
    xs, weights, biases = zip(*((u.x, u.weight, u.bias) for u in updates), strict=True)
    trained = (tensor for update in updates for tensor in update.trained)
    return _AddUpdates.apply(updates, h, *xs, *weights, *biases, *trained)


class _AddUpdates(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, updates: Sequence[PendingUpdate], h: Tensor, *inputs: Tensor | None
    ) -> Tensor:
        ctx.shape, ctx.recompute = h.shape, [update.recompute for update in updates]
        saved = [t for update in updates for t in (*update.encoded, *update.trained)]
        ctx.save_for_backward(*(update.weight for update in updates), *saved)
        biases = [update.bias for update in updates if update.bias is not None]
        weight = torch.cat([update.weight for update in updates], 1)
        z = torch.cat([update.z for update in updates], -1)
        ctx.compute_dtype = z.dtype
        output = _add_projection(h, z, weight, biases)
        if output is h:
            ctx.mark_dirty(h)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), count = grads, len(ctx.recompute)
        weights, saved = ctx.saved_tensors[:count], iter(ctx.saved_tensors[count:])
        grad_output = grad.to(ctx.compute_dtype)
        grad_z = grad_output @ torch.cat(weights, 1).to(ctx.compute_dtype)
        parts = grad_z.split([weight.shape[1] for weight in weights], -1)
        needs_grad_x = ctx.needs_input_grad[2 : 2 + count]
        results = [
            recompute.backward(saved, part, needed)
            for recompute, part, needed in zip(ctx.recompute, parts, needs_grad_x, strict=True)
        ]
        zs, grad_xs, trained_grads = zip(*results, strict=True)
        grad_h = grad.sum_to_size(ctx.shape) if ctx.needs_input_grad[1] else None
        return (
            None,
            grad_h,
            *grad_xs,
            *_weight_grads(grad_output, zs, weights),
            *_bias_grads(ctx, grad),
            *chain.from_iterable(trained_grads),
        )


def _add_projection(h: Tensor, z: Tensor, weight: Tensor, biases: Sequence[Tensor]) -> Tensor:
    """Return ``h`` + W z + b; this is ``h`` itself if shape, dtype and layout of ``h`` allow it.

    The product has the dtype of ``z``, which autocast chooses, the sum that of ``h``, if wider.

    It is not a view: the backward pass through a change of a view copies the gradient twice, and
    PyTorch 2.1 fails there if any other input gets no gradient.
    """
    dtype, shape = torch.promote_types(h.dtype, z.dtype), (*z.shape[:-1], len(weight))
    if h.shape != shape or h.dtype != dtype or not h.is_contiguous() or h._is_view():
        h = h.to(dtype).expand(shape).clone(memory_format=torch.contiguous_format)
    weight = weight.to(z.dtype)
    bias = sum(biases[1:], biases[0]).to(z.dtype) if biases else None
    if z.dtype != dtype:
        return h.add_(F.linear(z, weight, bias))
    if bias is not None:
        z, weight = F.pad(z, (0, 1), value=1.0), torch.cat([weight, bias[:, None]], 1)
    h.view(-1, shape[-1]).addmm_(z.flatten(0, -2), weight.t())
    return h


def _weight_grads(
    grad: Tensor, zs: Sequence[Tensor], weights: Sequence[Tensor]
) -> Iterator[Tensor]:
    """Return the gradient of each W, given that of W_1 z_1 + W_2 z_2 + ..."""
    z = torch.cat(list(zs), -1).flatten(0, -2).to(grad.dtype)
    # z^T grad takes half the time of grad^T z on a CPU.
    transposed = (z.t() @ grad.flatten(0, -2)).split([weight.shape[1] for weight in weights])
    return (t.t().to(weight.dtype) for t, weight in zip(transposed, weights, strict=True))


def _bias_grads(ctx: Any, grad: Tensor) -> Iterator[Tensor | None]:
    """Return the gradient of each b; all are equal, but each has its own memory."""
    count = len(ctx.recompute)
    needed = ctx.needs_input_grad[2 + 2 * count : 2 + 3 * count]
    if not any(needed):
        return iter([None] * count)
    total = grad.flatten(0, -2).sum(0)
    return (total.clone() if is_needed else None for is_needed in needed)
