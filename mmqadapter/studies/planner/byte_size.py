"""Sizes in bytes as text."""

from __future__ import annotations

import re

FACTORS = {'': 1, 'K': 2**10, 'M': 2**20}


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``'64K'``, ``'1.5M'`` or ``'73920'``; K is 1024.

    Raises:
        ValueError: The text is not a positive number, or has another unit.
    """
    match = re.fullmatch(r'(\d+\.?\d*|\.\d+)\s*([KM]?)(?:i?B)?', text.strip(), re.IGNORECASE)
    size = int(float(match[1]) * FACTORS[match[2].upper()]) if match else 0
    if size < 1:
        raise ValueError(
            f'the size {text!r} is invalid: expected bytes, or a number followed by K (1024) or M, '
            'such as 64K.'
        )
    return size
