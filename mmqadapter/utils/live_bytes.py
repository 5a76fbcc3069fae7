"""Bytes of all tensors that live at the same time, on any device and also without content."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mmqadapter.compat.torch_names import TORCH

OLDEST = (2, 6)  # PyTorch 2.1 crashes on references to storages
BLOCK = 512  # bytes; PyTorch's allocator for GPUs rounds sizes up to a multiple


def counts_live_bytes() -> bool:
    """Return whether this PyTorch is new enough for :class:`LiveBytes`."""
    return TORCH >= OLDEST


class LiveBytes(TorchDispatchMode):
    """Counter of the bytes of living tensors, while it is entered as a context.

    It follows each storage from the operation that makes it until nothing references it: weights,
    gradients, optimizer states, activations and temporaries alike. What an operation allocates and
    frees within itself (workspaces) is not seen. Views share a storage and count once. Sizes are
    rounded up to 512 bytes, as PyTorch does on a GPU.

    ``torch.distributed._tools.MemTracker`` does this as well, but refuses frozen parameters.

    Args:
        present: Tensors that already live and count from the start.

    Attributes:
        now: Bytes that live at present.
        peak: Most bytes that lived at the same time.

    Raises:
        ValueError: PyTorch is too old.
    """

    def __init__(self, present: Iterable[Tensor] = ()) -> None:
        super().__init__()
        if not counts_live_bytes():
            raise ValueError(
                f'PyTorch {torch.__version__} cannot count living tensors: expected 2.6 or newer.'
            )
        self.now = self.peak = 0
        self._known: dict[int, Any] = {}
        for tensor in present:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count the storages of its results."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_flatten(out)[0]:
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return out

    def __exit__(self, *error: Any) -> None:
        """Stop counting."""
        super().__exit__(*error)
        self._known.clear()

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        # The Python object of a storage lives as long as the storage itself.
        self._known[key] = weakref.ref(storage, lambda _: self._remove(key, size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _remove(self, key: int, size: int) -> None:
        if self._known.pop(key, None) is not None:
            self.now -= size
