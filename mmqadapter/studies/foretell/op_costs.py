"""Floating-point operations and bytes of each operation of a step, counted and not timed."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class Cost(NamedTuple):
    """Cost of an operation.

    Attributes:
        flops: Floating-point operations; 0 for all but matrix products, attention and convolutions.
        bytes: Bytes of the tensors that it reads and writes.
        half: Whether its inputs have 16 bits.
    """

    flops: int
    bytes: int
    half: bool


class OpCosts(TorchDispatchMode):
    """Counter of the costs of all operations, while it is entered as a context.

    Attributes:
        counts: Number of operations by their cost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Cost] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it, unless it is a view or only allocates."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        read = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        written = [leaf for leaf in tree_flatten(out)[0] if isinstance(leaf, Tensor)]
        if read and not func.is_view:
            count = flop_counter.flop_registry.get(func._overloadpacket)
            flops = count(*args, **kwargs, out_val=out) if count else 0
            half = any(t.dtype in (torch.float16, torch.bfloat16) for t in read)
            self.counts[Cost(int(flops), sum(t.nbytes for t in read + written), half)] += 1
        return out

    @property
    def flops(self) -> int:
        """Floating-point operations of all."""
        return sum(cost.flops * count for cost, count in self.counts.items())

    @property
    def bytes(self) -> int:
        """Bytes that all operations read and write."""
        return sum(cost.bytes * count for cost, count in self.counts.items())

    def seconds(self, flops: float, half_flops: float, bandwidth: float) -> float:
        """Return the time on a card that is never idle: of each operation the longer of two.

        Args:
            flops: Operations a second in float32.
            half_flops: Operations a second in 16 bits.
            bandwidth: Bytes a second.
        """
        return sum(
            count * max(cost.flops / (half_flops if cost.half else flops), cost.bytes / bandwidth)
            for cost, count in self.counts.items()
        )
