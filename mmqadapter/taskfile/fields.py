"""Types of the values in a task file's metadata, checked before any of them is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from reprlib import repr as short
from typing import Any

Check = Callable[[Any], bool]


def check_fields(metadata: Mapping[str, Any]) -> None:
    """Check that metadata has the fields that :func:`mmqadapter.save_task` writes.

    Raises:
        ValueError: A field is missing or has a value of another type; it is named.
    """
    for path, (fits, expected) in FIELDS.items():
        value: Any = metadata
        for level in path.split('.'):
            value = value.get(level) if isinstance(value, Mapping) else None
        if not fits(value):
            raise ValueError(f'{path}={short(value)} is invalid: expected {expected}')


def _optional(fits: Check) -> Check:
    return lambda value: value is None or fits(value)


def _is_color(value: Any) -> bool:
    return isinstance(value, list) and all(type(part) is int for part in value)


def _is_list_of(fits: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_dict_of(kind: type) -> Check:
    return lambda value: isinstance(value, dict) and all(type(v) is kind for v in value.values())


def _is_fingerprint(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isalnum()


def _is(kind: type) -> Check:
    return lambda value: type(value) is kind  # not isinstance: a bool is an int


# By path in the metadata; a parent comes before its children.
FIELDS: dict[str, tuple[Check, str]] = {
    'tuning': (_is(dict), 'the settings of a wrapped backbone'),
    'tuning.type': (_optional(_is(str)), 'a name or null'),
    'tuning.adapter': (_optional(_is(dict)), 'settings or null'),
    'tuning.quantizer': (_optional(_is(dict)), 'settings or null'),
    'trunk': (_is_fingerprint, 'the fingerprint of a trunk'),
    'head_bits': (_is(int), 'a number of bits'),
    'dataset': (_optional(_is(dict)), 'classes and palette, or null'),
    'dataset.classes': (_optional(_is_list_of(_is(str))), 'a list of names, or null'),
    'dataset.palette': (_optional(_is_list_of(_is_color)), 'a list of colors, or null'),
    'head': (_optional(_is(dict)), 'a tree of names, or null'),
    'tied': (_optional(_is_dict_of(str)), 'names by names, or null'),
}
