"""Checks of the lists of a COCO file: against each other and against the classes of the config."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mmengine

from mmqadapter.data_checks.problem import ERROR, WARNING, Problem
from mmqadapter.engine import coco_lists

LARGEST_SIZE = 2**24  # pixels


@dataclass(frozen=True)
class Kind:
    """What a value of a COCO file has to be.

    Attributes:
        text: Words for it.
        accepts: Whether a value is of this kind.
    """

    text: str
    accepts: Callable[[Any], bool]


def _is_id(value: Any) -> bool:
    """Return whether a value can be an id: 1.0 is the same as 1."""
    return isinstance(value, (int, str)) or (isinstance(value, float) and value % 1 == 0)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that a float can hold."""
    whole = isinstance(value, int) and abs(value) <= sys.float_info.max
    return whole or isinstance(value, float)


def _is_size(value: Any) -> bool:
    """Return whether a value can be a width or height in pixels."""
    return isinstance(value, (int, float)) and 1 <= value <= LARGEST_SIZE


ID = Kind('a whole number or a text', _is_id)
NUMBER = Kind('a number', _is_number)
SIZE = Kind('a number of pixels', _is_size)
TEXT = Kind('a text', lambda value: isinstance(value, str))
LIST = Kind('a list', lambda value: isinstance(value, list))
# Keys that mmdet reads without checking that they exist, and what they have to be.
REQUIRED: dict[str, dict[str, Kind]] = {
    'images': dict(id=ID, file_name=TEXT, width=SIZE, height=SIZE),
    'annotations': dict(id=ID, image_id=ID, category_id=ID, bbox=LIST, area=NUMBER),
    'categories': dict(id=ID, name=TEXT),
}


def load_coco(path: str, backend_args: dict | None = None) -> dict[str, list[dict]]:
    """Read a COCO file.

    Raises:
        ValueError: The file does not exist, is not JSON, or lacks one of the three lists.
    """
    try:
        content = mmengine.load(path, file_format='json', backend_args=backend_args)
    except OSError as error:
        raise ValueError(f'ann_file {path!r} cannot be read: {error}') from error
    except ValueError as error:
        raise ValueError(f'ann_file {path!r} is not valid JSON: {error}') from error
    for name in REQUIRED:
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise ValueError(f'ann_file {path!r} has no list {name!r}, which a COCO file needs')
    return {name: content[name] for name in REQUIRED}


def drop_incomplete(coco: dict[str, list[dict]], split: str) -> list[Problem]:
    """Remove entries that lack a required key from ``coco``, in place, and report them."""
    problems = []
    for name, keys in REQUIRED.items():
        faults = [entry_fault(entry, keys) for entry in coco[name]]
        for number, (entry, fault) in enumerate(zip(coco[name], faults, strict=True)):
            if fault:
                where = f'{split}: {name}[{number}]{entry_id(entry)}'
                problems.append(Problem(ERROR, 'incomplete entry', where, fault))
        coco[name] = [entry for entry, fault in zip(coco[name], faults, strict=True) if not fault]
    return problems


def entry_id(entry: Any) -> str:
    """Return the id of an entry in brackets, to append to its place; empty if it has none."""
    return f' (id {entry["id"]!r})' if isinstance(entry, dict) and 'id' in entry else ''


def entry_fault(entry: Any, keys: dict[str, Kind]) -> str:
    """Return which keys an entry lacks or has in another type; empty if it is complete.

    Args:
        entry: The entry.
        keys: Required keys and their kinds, as in ``REQUIRED``.
    """
    if not isinstance(entry, dict):
        return f'is {entry!r:.40}: expected an object with {", ".join(keys)}'
    missing = [key for key in keys if key not in entry]
    faults = [f'lacks {", ".join(missing)}'] if missing else []
    faults += [
        f'has {key}={entry[key]!r:.60}: expected {kind.text}'
        for key, kind in keys.items()
        if key in entry and not kind.accepts(entry[key])
    ]
    return ', '.join(faults)


def duplicate_ids(coco: dict[str, list[dict]], split: str) -> Iterator[Problem]:
    """Yield a problem for each id that occurs twice among images, annotations or categories."""
    for name, message in coco_lists.duplicate_ids(coco):
        yield Problem(ERROR, 'duplicate id', f'{split}: {name}', message)


def duplicate_files(images: list[dict[str, Any]], split: str) -> Iterator[Problem]:
    """Yield a problem for each file that several images of a COCO file name."""
    ids: dict[str, set] = {}
    for image in images:
        ids.setdefault(image['file_name'], set()).add(image['id'])
    for name, numbers in ids.items():
        if len(numbers) > 1:
            message = (
                f'{len(numbers)} images have this file_name (ids {sorted(numbers, key=str)}): '
            )
            message += 'each trains without the instances of the others; join them'
            yield Problem(ERROR, 'duplicate file', f'{split}: {name}', message)


def size_fault(stored: tuple[int, int], declared: tuple[int, int]) -> str:
    """Return how the width and height that an entry declares differ from those of the image."""
    if stored == declared:
        return ''
    message = f'the file is {stored[0]} x {stored[1]} pixels, its entry says '
    message += f'{declared[0]} x {declared[1]}'
    if stored == declared[::-1]:
        message += '; width and height are swapped, or the entry ignores the EXIF orientation'
    return message


def category_problems(
    categories: list[dict[str, Any]], classes: Sequence[str], split: str
) -> Iterator[Problem]:
    """Compare the categories of the file with ``metainfo.classes`` of the config."""
    names = [category['name'] for category in categories]
    for kind, message in coco_lists.category_faults(names, classes):
        yield Problem(ERROR, kind, split, message)
    for name in dict.fromkeys(names):
        if name not in classes:
            message = f'category {name!r} is not in metainfo.classes; its instances are not used'
            yield Problem(WARNING, 'category without class', split, message)
