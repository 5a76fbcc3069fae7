"""Reading of annotation files, shared by several formats."""

from __future__ import annotations

import json
from collections.abc import Iterable
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


def json_with(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """Return the content of a JSON that has these keys; an empty dict for any other file."""
    try:
        content = json.loads(path.read_text('utf-8'))
    except ValueError:
        return {}
    return content if isinstance(content, dict) and set(content) >= set(keys) else {}


def skipped_note(kinds: set[str]) -> list[str]:
    """Return a note on the types of shapes that were skipped, if any were."""
    return [f'shapes of these types are skipped: {", ".join(sorted(kinds))}'] if kinds else []
