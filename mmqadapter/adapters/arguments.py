"""Checks of the arguments of adapters."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def require_sizes(**sizes: Any) -> None:
    """Check that arguments are whole numbers of 1 or more.

    Raises:
        ValueError: One of them is not.
    """
    for name, size in sizes.items():
        if not is_size(size):
            raise ValueError(f'{name}={size!r} is invalid: expected 1 or more, as a whole number.')


def require_dropout(dropout: Any) -> None:
    """Check that a dropout rate is in [0, 1).

    Raises:
        ValueError: It is not.
    """
    if not (isinstance(dropout, (int, float)) and 0 <= dropout < 1):
        raise ValueError(f'dropout={dropout!r} is invalid: expected a number in [0, 1).')


def require_flag(**flags: Any) -> None:
    """Check that arguments are True or False; any text, 'False' as well, would count as True.

    Raises:
        ValueError: One of them is not.
    """
    for name, flag in flags.items():
        if flag not in (True, False):
            raise ValueError(f'{name}={flag!r} is invalid: expected True or False.')


def is_size(value: Any) -> bool:
    """Return whether a value is a whole number of 1 or more."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
