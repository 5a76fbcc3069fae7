"""Reading of annotation files, shared by several formats."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree


def xml_root(path: Path, tag: str, child: str) -> ElementTree.Element | None:
    """Return the root of an XML file if it has this tag and such a child; else None.

    Raises:
        ValueError: The file is not XML.
    """
    try:
        element = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f'{str(path)!r} is not valid XML ({error}).') from error
    return element if element.tag == tag and element.find(child) is not None else None


def read_text(path: Path) -> str:
    """Return the text of a file, without the byte order mark that some editors write.

    Raises:
        ValueError: The file is not text in UTF-8.
    """
    return _decoded(path).removeprefix('\ufeff')


def _decoded(path: Path) -> str:
    try:
        return path.read_text('utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{str(path)!r} is not text in UTF-8 ({error}); store it so.') from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON.

    Raises:
        ValueError: The file is empty or damaged.
    """
    text = _decoded(path)  # training reads no byte order mark
    remedy = 'restore it, or move it out of the folder'
    if not text.strip():
        raise ValueError(f'{str(path)!r} is empty: expected JSON; {remedy}.')
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f'{str(path)!r} cannot be read as JSON ({error}): it is damaged or cut off'
        raise ValueError(f'{message}; {remedy}.') from error


def has_keys(content: Any, keys: Iterable[str]) -> bool:
    """Return whether the content of a JSON is an object with these keys."""
    return isinstance(content, dict) and set(content) >= set(keys)


def is_json_with(path: Path, keys: Iterable[str]) -> bool:
    """Return whether a file is a JSON with these keys."""
    try:
        return has_keys(read_json(path), keys)
    except ValueError:
        return False


def check_label(label: Any, path: Path) -> str:
    """Return the class name of an object or category.

    Raises:
        ValueError: It is not a text, or empty.
    """
    if not isinstance(label, str) or not label.strip():
        raise ValueError(
            f'{str(path)!r} has the class name {label!r}: expected a text; name the class.'
        )
    return label


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Name the annotation file in errors of reading its content.

    Raises:
        ValueError: The content is not of the form of its format.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, zlib.error, OSError) as e:
        if str(path) in str(e):
            raise
        message = f'{str(path)!r} holds an object of another form ({type(e).__name__}: {e}).'
        raise ValueError(message) from e


def skipped_note(kinds: set[str]) -> list[str]:
    """Return a note on the types of shapes that were skipped, if any were."""
    return [f'shapes of these types are skipped: {", ".join(sorted(kinds))}'] if kinds else []
