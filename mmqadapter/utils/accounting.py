"""Counts of parameters by part, and of activation memory (saved for backward), in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from mmqadapter.utils.tuned_backbone import TunedBackbone

# Task id outside of backward; PyTorch's own checkpointing makes the same test.
NO_BACKWARD = -1


def part_counts(model: nn.Module) -> dict[str, dict[str, int]]:
    """Count the ``trainable`` and ``frozen`` parameters of each part of ``model``.

    Parts are the direct children (backbone, neck, heads); a wrapped backbone is split into its own
    children (``backbone.trunk``, ``backbone.adapters``). Parts without parameters are left out.
    """
    counts = {}
    for name, child in model.named_children():
        inner = child.named_children() if isinstance(child, TunedBackbone) else ()
        parts = {f'{name}.{part}': module for part, module in inner} or {name: child}
        counts.update({part: _tally(module) for part, module in parts.items()})
    return {part: tally for part, tally in counts.items() if sum(tally.values())}


def stored_weights(module: nn.Module) -> Iterator[Tensor]:
    """Yield all parameters, and the 8-bit codes of a frozen trunk, which are buffers."""
    codes = (buffer for buffer in module.buffers() if buffer.dtype == torch.int8)
    return chain(module.parameters(), codes)


def _tally(module: nn.Module) -> dict[str, int]:
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return {
        'trainable': trainable,
        'frozen': sum(t.numel() for t in stored_weights(module)) - trainable,
    }


class SavedBytes:
    """Counter of the bytes of distinct storages that autograd saves for backward.

    Args:
        model: Model whose weights are not counted.

    Attributes:
        total: Bytes counted so far.
    """

    def __init__(self, model: nn.Module) -> None:
        self.total = 0
        self._seen = {p.untyped_storage().data_ptr() for p in stored_weights(model)}
        # References, so that no address is reused while counting.
        self._storages: list[torch.UntypedStorage] = []

    def pack(self, tensor: Tensor) -> Tensor:
        """Count a saved tensor, and return it unchanged."""
        # Not during backward: tensors that recomputation saves there are freed at once.
        if torch._C._current_graph_task_id() == NO_BACKWARD:
            self._count(tensor.untyped_storage())
        # Detached: an output saved by its own operation would keep the graph alive for ever.
        return tensor.detach()

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._storages.append(storage)
            self.total += storage.nbytes()

    def release(self) -> None:
        """Drop the references to the counted storages."""
        self._storages.clear()


@contextmanager
def saved_for_backward(model: nn.Module) -> Iterator[SavedBytes]:
    """Count the activation memory (saved for backward) of the forwards in this context, in bytes.

    The count is exact and does not depend on the machine. It covers only tensors that pass through
    ``save_for_backward``.
    """
    counter = SavedBytes(model)
    try:
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, _identity):
            yield counter
    finally:
        counter.release()


def _identity(tensor: Tensor) -> Tensor:
    return tensor
