"""Memory of common GPUs."""

from __future__ import annotations

import difflib
import re

# Nominal GiB, by the name that the vendor prints, without its brands.
CARDS: dict[str, int] = {
    'GTX 1080 Ti': 11, 'RTX 2070': 8, 'RTX 2080': 8, 'RTX 2080 Ti': 11, 'TITAN RTX': 24,
    'RTX 3060': 12, 'RTX 3070': 8, 'RTX 3080': 10, 'RTX 3080 Ti': 12, 'RTX 3090': 24,
    'RTX 4060': 8, 'RTX 4060 Ti 16GB': 16, 'RTX 4070': 12, 'RTX 4080': 16, 'RTX 4090': 24,
    'RTX 5070 Ti': 16, 'RTX 5080': 16, 'RTX 5090': 32,
    'RTX A4000': 16, 'RTX A5000': 24, 'RTX A6000': 48, 'RTX 6000 Ada': 48,
    'P100': 16, 'V100 16GB': 16, 'V100 32GB': 32, 'T4': 15, 'A10': 22, 'L4': 22, 'L40S': 44,
    'A100 40GB': 40, 'A100 80GB': 80, 'H100': 80, 'H200': 140,
}  # fmt: skip
BRANDS = re.compile(r'nvidia|geforce|tesla|[^a-z0-9]')


def card_bytes(name: str) -> int:
    """Return the bytes of memory of a GPU such as ``'RTX 4090'``.

    Raises:
        ValueError: The GPU is not in the table.
    """
    names = {_plain(card): card for card in CARDS}
    card = names.get(_plain(name))
    if card is None:
        near = difflib.get_close_matches(_plain(name), names, 3, 0.5)
        known = ', '.join(names[match] for match in near) or ', '.join(CARDS)
        raise ValueError(
            f'gpu={name!r} is invalid: expected a known name such as {known}; or give --memory.'
        )
    return CARDS[card] * 2**30


def _plain(name: str) -> str:
    return BRANDS.sub('', name.lower())
