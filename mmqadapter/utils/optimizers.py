"""PyTorch's optimizers inside mmengine's wrappers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from mmengine.optim import BaseOptimWrapper, OptimWrapperDict


def optimizers(wrapper: BaseOptimWrapper) -> Iterator[torch.optim.Optimizer]:
    """Yield the optimizer of a wrapper, or all those of a wrapper of several."""
    for single in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
        if isinstance(single.optimizer, torch.optim.Optimizer):
            yield single.optimizer
