"""Sizes in bytes as people write them."""

from __future__ import annotations

import re

FACTORS = {'': 1, 'K': 2**10, 'M': 2**20}


def parse_size(text: str) -> int:
    """Bytes of a size such as ``'64K'``, ``'1.5M'`` or ``'73920'``; K is 1024, M is 1024 K.

    Raises:
        ValueError: Not a positive number with one of these letters or none.
    """
    found = re.fullmatch(r'(\d+\.?\d*|\.\d+)\s*([KM]?)(?:i?B)?', text.strip(), re.IGNORECASE)
    size = int(float(found[1]) * FACTORS[found[2].upper()]) if found else 0
    if size < 1:
        raise ValueError(
            f'{text!r} is no size; write bytes, or K (1024) or M behind a number, such as 64K.'
        )
    return size
