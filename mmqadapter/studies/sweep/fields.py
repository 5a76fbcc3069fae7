"""Checks of the values of a sweep file; an error names the key, the value and what was expected."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

# pydantic was tried: the same checks and messages took as much code of ours, and a dependency.


def check_keys(
    name: str, content: Any, required: Collection[str], optional: Collection[str] = ()
) -> None:
    """Check that ``content`` is a mapping with all ``required`` keys and no unknown one.

    Raises:
        ValueError: It is not.
    """
    known = ', '.join([*required, *optional])
    if not isinstance(content, Mapping):
        raise ValueError(
            f'{name}={content!r} is invalid: expected a mapping with the keys {known}.'
        )
    for key in content:
        if key not in required and key not in optional:
            raise ValueError(f'{name} has an unknown key {key!r}: expected {known}.')
    for key in required:
        if key not in content:
            raise ValueError(f'{name} lacks the key {key!r}: expected {known}.')


def integer(name: str, value: Any, minimum: int) -> int:
    """Return ``value`` if it is an integer of ``minimum`` or more.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f'{name}={value!r} is invalid: expected an integer of {minimum} or more.')
    return value


def boolean(name: str, value: Any) -> bool:
    """Return ``value`` if it is a bool.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, bool):
        raise ValueError(f'{name}={value!r} is invalid: expected true or false.')
    return value


def text(name: str, value: Any) -> str:
    """Return ``value`` if it is a string that is not empty.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f'{name}={value!r} is invalid: expected text.')
    return value


def distinct_list(name: str, value: Any) -> list:
    """Return ``value`` if it is a list of one or more entries that all differ.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f'{name}={value!r} is invalid: expected a list such as [1, 2].')
    for index, entry in enumerate(value):
        if entry in value[:index]:
            raise ValueError(f'{name} lists {entry!r} twice; remove one of them.')
    return value


def rate_list(name: str, value: Any) -> tuple[float, ...]:
    """Return learning rates as numbers; YAML 1.1 reads ``1e-3`` as text, which is accepted.

    Raises:
        ValueError: It is not a list of different finite numbers above zero.
    """
    rates = [_rate(name, entry) for entry in distinct_list(name, value)]
    return tuple(distinct_list(name, rates))  # '1e-3' and 0.001 are equal as numbers


def _rate(name: str, value: Any) -> float:
    try:
        rate = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f'{name}: {value!r} is invalid: expected numbers above 0.')
    return rate
