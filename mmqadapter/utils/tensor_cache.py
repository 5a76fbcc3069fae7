"""Cache for tensors that are computed from frozen tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.compat.torch_names import is_compiling


class TensorCache:
    """Cache of a tensor that is computed from others.

    It is recomputed when one of them changes, moves or is cast. A copy, deep or pickled, starts
    empty. Writes through ``.data`` go unnoticed, see
    :func:`clear_caches`.
    """

    def __init__(self) -> None:
        self._key: tuple | None = None
        self._value = torch.empty(0)

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorCache, ()

    def forget(self) -> None:
        """Empty the cache, so that the next :meth:`get` computes the tensor again."""
        self._key = None

    def get(self, make: Callable[[], Tensor], *sources: Tensor) -> Tensor:
        """Return ``make()``, computed without autograd for the present content of ``sources``.

        While the model is traced, nothing is cached, and autograd sees ``make()``.
        """
        if is_traced():
            return make()
        key = tuple(_state(source) for source in sources)
        if key != self._key:
            with torch.inference_mode(False), torch.no_grad():
                self._key, self._value = key, make()
        return self._value


def is_traced() -> bool:
    """Return whether calls are being traced, so that tensors may hold no values."""
    return is_compiling() or torch.jit.is_tracing()


def _state(source: Tensor) -> tuple:
    # PyTorch counts in-place changes, except of tensors made in inference mode.
    version = 0 if source.is_inference() else source._version
    return source.data_ptr(), version, source.dtype, source.device


def clear_caches(net: nn.Module) -> None:
    """Empty the caches of all modules: hooks and loaders may have written through ``.data``."""
    for module in net.modules():
        for value in vars(module).values():
            if isinstance(value, TensorCache):
                value.forget()
