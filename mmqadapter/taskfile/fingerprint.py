"""Fingerprint of a trunk's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Return the content of a tensor of any dtype, row-major, as stored in memory."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 (64 hex digits) over names, dtypes, shapes and contents of ``weights``.

    The order of the mapping does not matter.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()
