"""Module calls that save only their input for backward and recompute the rest there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmqadapter.compat.torch_names import get_device_states, set_device_states
from mmqadapter.highway.saved_taps import TapFormat
from mmqadapter.quant import CachedWeights
from mmqadapter.utils.autocast import AutocastState

RandomStates = tuple[Tensor, tuple[list[int], list[Tensor]]]


class Recompute:
    """Caller of modules whose activation memory (saved for backward) is their input alone.

    The input is saved in a chosen format, only through ``save_for_backward``. When the call is
    recomputed, dropout draws the same numbers and autocast is as it was. Gradients of gradients
    raise an error.

    Args:
        tap_format: Format in which the input is saved.
    """

    def __init__(self, tap_format: type[TapFormat]) -> None:
        self.tap_format = tap_format

    def __call__(self, module: nn.Module, x: Tensor, *args: Any) -> Tensor:
        """Return ``module(x, *args)``; ``args`` must not contain tensors."""
        cached = CachedWeights(module)
        trained = cached.trained(module)
        if not (torch.is_grad_enabled() and (trained or x.requires_grad)):
            return module(x, *args)
        call = Recomputable(module, module, args, cached)
        return _Recomputed.apply(call, self.tap_format, x, *trained)


class Recomputable:
    """A call that can be repeated under the same conditions.

    Args:
        module: Module whose weights and dropout the call uses.
        function: Function to call: the module, or one of its methods.
        args: Arguments after the first; no tensors.
        cached: Quantized weights of the module at the first call.
    """

    def __init__(
        self, module: nn.Module, function: Callable[..., Tensor], args: tuple, cached: CachedWeights
    ) -> None:
        self.module, self.function, self.args, self.cached = module, function, args, cached
        self.random: RandomStates | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Call the function and remember the state of autocast and of random numbers."""
        self.device = x.device.type
        self.autocast = AutocastState.capture(self.device)
        self.random = _random_states(x) if _uses_dropout(self.module) else None
        return self.function(x, *self.args)

    def recompute(self, x: Tensor) -> Tensor:
        """Call the function again under the same conditions, with a graph."""
        self.cached.restore()
        # In older PyTorch the cache may hold casts of weights from the first call, without a graph.
        autocast = self.autocast.restore(cache_enabled=False)
        with torch.enable_grad(), autocast, _restored(self.device, self.random):
            return self.function(x, *self.args)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, call: Recomputable, tap_format: type[TapFormat], x: Tensor, *trained: Tensor
    ) -> Tensor:
        ctx.call, ctx.tap_format, ctx.dtype = call, tap_format, x.dtype
        encoded = tap_format.encode(x)
        ctx.encoded_count = len(encoded)
        ctx.save_for_backward(*encoded, *trained)
        return call.forward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        encoded = ctx.saved_tensors[: ctx.encoded_count]
        trained = ctx.saved_tensors[ctx.encoded_count :]
        x = ctx.tap_format.decode(encoded, ctx.dtype).detach()
        x.requires_grad_(ctx.needs_input_grad[2])
        output = ctx.call.recompute(x)
        inputs = [t for t in (x, *trained) if t.requires_grad]
        input_grads = iter(torch.autograd.grad(output, inputs, grads))
        return None, None, *(next(input_grads) if t.requires_grad else None for t in (x, *trained))


def _uses_dropout(module: nn.Module) -> bool:
    """Return whether a call of ``module`` draws random numbers."""
    dropouts = (m for m in module.modules() if isinstance(m, nn.modules.dropout._DropoutNd))
    return any(m.training and m.p > 0 for m in dropouts)


def _random_states(x: Tensor) -> RandomStates:
    return torch.get_rng_state(), get_device_states(x)


@contextmanager
def _restored(device: str, states: RandomStates | None) -> Iterator[None]:
    """Restore ``states`` of random numbers within the context; outside nothing changes."""
    if states is None:
        yield
        return
    cpu_state, (devices, device_states) = states
    with torch.random.fork_rng(devices, device_type=device if devices else 'cuda'):
        torch.set_rng_state(cpu_state)
        set_device_states(devices, device_states, device)
        yield
