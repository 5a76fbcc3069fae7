"""Entropy of the codes of a quantized weight."""

from __future__ import annotations

import torch
from torch import Tensor


def code_entropy(codes: Tensor) -> float:
    """Return the entropy of the distribution of ``codes``, in bits per code; 0 for no codes.

    It is the lower bound for any lossless compression that encodes one value at a time.
    """
    counts = torch.bincount(codes.reshape(-1).int()).double()
    shares = counts[counts > 0] / counts.sum()
    return abs(float((shares * shares.log2()).sum()))
