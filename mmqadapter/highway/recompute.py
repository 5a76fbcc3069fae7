"""Calls that keep their input alone for the backward pass and compute the rest again there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import get_device_states, set_device_states

from mmqadapter.highway.saved_taps import TapFormat
from mmqadapter.quant import CachedWeights

RandomStates = tuple[Tensor, tuple[list[int], list[Tensor]]]


class Recompute:
    """Calls a module; what it keeps for backward is its input, in a format of choice.

    Tensors are kept through ``save_for_backward`` alone. Dropout draws the same numbers again, and
    autocast is as it was. Gradients of gradients are refused.

    Args:
        tap_format: In which form the input is kept.
    """

    def __init__(self, tap_format: type[TapFormat]) -> None:
        self.tap_format = tap_format

    def __call__(self, module: nn.Module, x: Tensor, *args: Any) -> Tensor:
        """``module(x, *args)``; ``args`` hold no tensors."""
        cached = CachedWeights(module)
        trained = cached.trained(module)
        if not (torch.is_grad_enabled() and (trained or x.requires_grad)):
            return module(x, *args)
        call = Recomputable(module, module, args, cached)
        return _Recomputed.apply(call, self.tap_format, x, *trained)


class Recomputable:
    """One call that can be made a second time under the same conditions.

    Args:
        module: Whose weights and dropout the call uses.
        function: What is called: the module, or a method of it.
        args: Behind the first argument; no tensors.
        given: Quantised weights of the module at the time.
    """

    def __init__(
        self, module: nn.Module, function: Callable[..., Tensor], args: tuple, cached: CachedWeights
    ) -> None:
        self.module, self.function, self.args, self.cached = module, function, args, cached
        self.random: RandomStates | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The call."""
        self.device = x.device.type
        self.autocast = torch.is_autocast_enabled(self.device)
        self.autocast_dtype = torch.get_autocast_dtype(self.device)
        self.random = _random_states(x) if _draws(self.module) else None
        return self.function(x, *self.args)

    def recompute(self, x: Tensor) -> Tensor:
        """The same with a graph."""
        self.cached.restore()
        # In older PyTorch the cache may hold casts of weights from the first call, without a graph.
        autocast = torch.autocast(
            self.device, self.autocast_dtype, self.autocast, cache_enabled=False
        )
        with torch.enable_grad(), autocast, _as_before(self.device, self.random):
            return self.function(x, *self.args)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, call: Recomputable, tap_format: type[TapFormat], x: Tensor, *trained: Tensor
    ) -> Tensor:
        ctx.call, ctx.tap_format, ctx.dtype = call, tap_format, x.dtype
        packed = tap_format.pack(x)
        ctx.packed = len(packed)
        ctx.save_for_backward(*packed, *trained)
        return call.forward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        packed, trained = ctx.saved_tensors[: ctx.packed], ctx.saved_tensors[ctx.packed :]
        x = ctx.tap_format.unpack(packed, ctx.dtype).detach()
        x.requires_grad_(ctx.needs_input_grad[2])
        output = ctx.call.recompute(x)
        wanted = [t for t in (x, *trained) if t.requires_grad]
        found = iter(torch.autograd.grad(output, wanted, grads))
        return None, None, *(next(found) if t.requires_grad else None for t in (x, *trained))


def _draws(module: nn.Module) -> bool:
    """Whether a call draws random numbers."""
    dropouts = (m for m in module.modules() if isinstance(m, nn.modules.dropout._DropoutNd))
    return any(m.training and m.p > 0 for m in dropouts)


def _random_states(x: Tensor) -> RandomStates:
    return torch.get_rng_state(), get_device_states(x)


@contextmanager
def _as_before(device: str, states: RandomStates | None) -> Iterator[None]:
    """With the random numbers of ``states``, and those of outside as if nothing were drawn."""
    if states is None:
        yield
        return
    cpu, (devices, of_devices) = states
    with torch.random.fork_rng(devices, device_type=device if devices else 'cuda'):
        torch.set_rng_state(cpu)
        set_device_states(devices, of_devices, device_type=device)
        yield
