"""Size of chunks of tokens, and when to use them.

Chunks keep the tensors between layers in a CPU's cache. The hidden layer of an MLP of 128 channels
takes 64 MB for 32,768 tokens, which are written to new memory and read again. For a chunk of a
thousand tokens it takes 2 MB, in memory that the next chunk reuses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 1024  # tokens; 512 to 2048 are as fast for 96 to 1024 channels


def fits_chunks(module: Any, x: Tensor) -> bool:
    """Return whether ``module`` may take ``x`` in chunks: on a CPU and without a graph."""
    if x.device.type != 'cpu':
        return False
    trained = x.requires_grad or any(p.requires_grad for p in module.parameters())
    return not (trained and torch.is_grad_enabled())
