"""Values of a sweep file, checked; an error names the key, the value and what was expected."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any


def check_keys(
    where: str, content: Any, required: Collection[str], optional: Collection[str] = ()
) -> None:
    """Check that ``content`` is a mapping with all of ``required`` and nothing unknown.

    Raises:
        ValueError: It is not.
    """
    known = ', '.join([*required, *optional])
    if not isinstance(content, Mapping):
        raise ValueError(f'{where}: {content!r} is no mapping; give the keys {known}.')
    for key in content:
        if key not in required and key not in optional:
            raise ValueError(f'{where}: unknown key {key!r}; known are {known}.')
    for key in required:
        if key not in content:
            raise ValueError(f'{where}: the key {key!r} is missing; needed are {known}.')


def whole(name: str, value: Any, least: int) -> int:
    """``value`` if it is a whole number of ``least`` or more.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f'{name}={value!r} is not a whole number of {least} or more.')
    return value


def yes_or_no(name: str, value: Any) -> bool:
    """``value`` if it is true or false.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, bool):
        raise ValueError(f'{name}={value!r} is neither true nor false.')
    return value


def text(name: str, value: Any) -> str:
    """``value`` if it is text that is not empty.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f'{name}={value!r} is no text.')
    return value


def several(name: str, value: Any) -> list:
    """``value`` if it is a list with different entries, one at least.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f'{name}={value!r} is not a list with an entry or more, such as [1, 2].')
    if any(entry in value[:place] for place, entry in enumerate(value)):
        raise ValueError(f'{name}={value!r} names something twice; leave one of them out.')
    return value


def rate_list(name: str, value: Any) -> tuple[float, ...]:
    """Learning rates; ``1e-3``, which YAML takes for text, is a number here.

    Raises:
        ValueError: No list, or one with something but finite numbers above zero.
    """
    rates = tuple(_rate(name, entry) for entry in several(name, value))
    several(name, list(rates))  # 1e-3 and 0.001 are one
    return rates


def _rate(name: str, value: Any) -> float:
    try:
        rate = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f'{name}: {value!r} is no learning rate; give numbers above 0.')
    return rate
