"""COCO file of a run, put together from the files of single images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any


def coco_chunks(files: Sequence[Path], classes: Sequence[str]) -> Iterator[bytes]:
    """Yield a COCO file with images, categories and annotations in chunks of one image.

    Args:
        files: JSON files, one per image, with ``image`` and ``annotations``.
        classes: Names of the categories.
    """
    categories = [dict(id=number, name=name) for number, name in enumerate(classes, start=1)]
    yield b'{"images": ['
    yield from _separated(_image_entries(files))
    yield b'], "categories": ' + json.dumps(categories).encode() + b', "annotations": ['
    yield from _separated(_annotation_entries(files))
    yield b']}'


def _image_entries(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for number, file in enumerate(files, start=1):
        yield dict(id=number, **_content(file)['image'])


def _annotation_entries(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    ids = count(1)
    for number, file in enumerate(files, start=1):
        for instance in _content(file)['annotations']:
            yield dict(id=next(ids), image_id=number, iscrowd=0, **instance)


def _content(file: Path) -> dict[str, Any]:
    return json.loads(file.read_bytes())


def _separated(entries: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    for number, entry in enumerate(entries):
        yield (', ' if number else '').encode() + json.dumps(entry).encode()
