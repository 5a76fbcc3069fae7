"""Pure counts: parameters by group, bytes that autograd keeps for backward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from mmqadapter.utils.tuned_backbone import TunedBackbone

# What PyTorch's own checkpointing asks, too, to know whether a backward is running.
NO_BACKWARD = -1


def part_counts(model: nn.Module) -> dict[str, dict[str, int]]:
    """Numbers of ``trainable`` and ``frozen`` parameters of each part of ``model``.

    Parts are the direct children (backbone, neck, heads); a wrapped backbone is told apart into
    its own (``backbone.trunk``, ``backbone.adapters``).
    """
    counts = {}
    for name, child in model.named_children():
        inner = child.named_children() if isinstance(child, TunedBackbone) else ()
        parts = {f'{name}.{part}': module for part, module in inner} or {name: child}
        counts.update({part: _tally(module) for part, module in parts.items()})
    return {part: tally for part, tally in counts.items() if sum(tally.values())}


def stored_weights(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, and weights of a frozen trunk that are codes of 8 bits."""
    codes = (buffer for buffer in module.buffers() if buffer.dtype == torch.int8)
    return chain(module.parameters(), codes)


def _tally(module: nn.Module) -> dict[str, int]:
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return {
        'trainable': trainable,
        'frozen': sum(t.numel() for t in stored_weights(module)) - trainable,
    }


class SavedBytes:
    """Bytes of distinct storages that went through ``save_for_backward``, weights excluded."""

    def __init__(self, model: nn.Module) -> None:
        self.total = 0
        self._seen = {p.untyped_storage().data_ptr() for p in stored_weights(model)}
        # Held while counting, so that no address is used twice.
        self._storages: list[torch.UntypedStorage] = []

    def pack(self, tensor: Tensor) -> Tensor:
        """Count a saved tensor and leave its values as they are."""
        # Not within backward: what is computed again there is gone at once.
        if torch._C._current_graph_task_id() == NO_BACKWARD:
            self._count(tensor.untyped_storage())
        # Detached: an output that its own operation saves would keep the graph for ever.
        return tensor.detach()

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._storages.append(storage)
            self.total += storage.nbytes()

    def release(self) -> None:
        """Stop holding what was counted."""
        self._storages.clear()


@contextmanager
def saved_for_backward(model: nn.Module) -> Iterator[SavedBytes]:
    """Count what autograd keeps for backward of the forwards in this context, in bytes.

    Exact and the same on every machine. It sees only what goes through ``save_for_backward``.
    """
    counter = SavedBytes(model)
    try:
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, _identity):
            yield counter
    finally:
        counter.release()


def _identity(tensor: Tensor) -> Tensor:
    return tensor
