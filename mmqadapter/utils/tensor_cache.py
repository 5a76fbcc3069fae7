"""What is computed from frozen tensors once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class TensorCache:
    """A tensor made from others, kept until one of them changes, moves or is cast.

    A copy, pickled or deep, starts empty. What is written through ``.data`` goes unnoticed, see
    :func:`clear_caches`.
    """

    def __init__(self) -> None:
        self._key: tuple | None = None
        self._value = torch.empty(0)

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorCache, ()

    def forget(self) -> None:
        """Make it anew when it is next asked for."""
        self._key = None

    def get(self, make: Callable[[], Tensor], *sources: Tensor) -> Tensor:
        """``make()``, without a graph, for the present content of ``sources``."""
        if is_traced():
            return make()
        key = tuple(_state(source) for source in sources)
        if key != self._key:
            with torch.inference_mode(False), torch.no_grad():
                self._key, self._value = key, make()
        return self._value


def is_traced() -> bool:
    """Whether calls are recorded as a graph, for a compiler or a file, and tensors hold nothing."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _state(source: Tensor) -> tuple:
    # PyTorch counts changes in place, but not of tensors that inference mode made.
    version = 0 if source.is_inference() else source._version
    return source.data_ptr(), version, source.dtype, source.device


def clear_caches(net: nn.Module) -> None:
    """Make all that modules keep anew: hooks and loaders may have written through ``.data``."""
    for module in net.modules():
        cache = vars(module).get('_cache')
        if isinstance(cache, TensorCache):
            cache.forget()
