"""How many bits the codes of a quantised weight carry."""

from __future__ import annotations

import torch
from torch import Tensor


def code_entropy(codes: Tensor) -> float:
    """Entropy of the distribution of ``codes``, in bits per code.

    No code that looks at one value at a time can take fewer bits. No codes: 0.
    """
    counts = torch.bincount(codes.reshape(-1).int()).double()
    shares = counts[counts > 0] / counts.sum()
    return abs(float((shares * shares.log2()).sum()))
