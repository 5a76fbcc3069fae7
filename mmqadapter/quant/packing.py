"""Packing of codes into bytes, first code in the least significant bits (arXiv 2307.16867)."""

from __future__ import annotations

import torch
from torch import Tensor

from mmqadapter.quant.codebook import check_bits


def packed_bytes(count: int, bits: int) -> int:
    """Return the number of bytes for ``count`` codes of ``bits`` bits, rounded up."""
    check_bits(bits)
    return (count * bits + 7) // 8


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack codes into bytes, in row-major order, little-endian.

    Args:
        codes: Integers in [0, 2**bits), any shape.
        bits: Width of a code, in bits: 1, 2, 4 or 8.

    Returns:
        uint8 (``packed_bytes(codes.numel(), bits)``,), unused bits of the last byte zero.

    Raises:
        ValueError: Unknown ``bits``, or a code that does not fit.
    """
    check_bits(bits)
    flat = codes.reshape(-1)
    low, high = (int(flat.min()), int(flat.max())) if flat.numel() else (0, 0)
    if low < 0 or high >= 2**bits:
        raise ValueError(
            f'codes from {low} to {high} are invalid: expected 0 to {2**bits - 1}, the range of '
            f'{bits} bits.'
        )
    per_byte = 8 // bits
    padded = torch.zeros(packed_bytes(flat.numel(), bits) * per_byte, dtype=torch.uint8)
    padded[: flat.numel()] = flat.to(device='cpu', dtype=torch.uint8)
    return (padded.view(-1, per_byte) << _shifts(bits)).sum(1, dtype=torch.uint8)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """Unpack ``count`` codes; the inverse of :func:`pack`.

    Returns:
        uint8 (``count``,).

    Raises:
        ValueError: Unknown ``bits``, or ``packed`` has not the number of bytes for ``count`` codes.
    """
    check_bits(bits)
    if packed.numel() != packed_bytes(count, bits):
        raise ValueError(
            f'packed codes of {packed.numel()} bytes are invalid: expected '
            f'{packed_bytes(count, bits)} bytes for {count} codes of {bits} bits.'
        )
    codes = (packed.reshape(-1, 1) >> _shifts(bits)) & (2**bits - 1)
    return codes.reshape(-1)[:count]


def _shifts(bits: int) -> Tensor:
    return torch.arange(0, 8, bits, dtype=torch.uint8)
