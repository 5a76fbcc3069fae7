"""Files of a report: ``report.json`` and those that are rendered from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmqadapter.utils.atomic import atomic_write

Report = dict[str, Any]  # `header` and `rows`
JSON_NAME = 'report.json'


def write_json(report: Report, folder: Path) -> Path:
    """Write report.json and return its path."""
    return write_files({JSON_NAME: json.dumps(report, indent=1).encode()}, folder)[0]


def write_files(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write files by name into a folder, which is created if missing; return their paths."""
    for name, content in files.items():
        atomic_write(folder / name, content)
    return [folder / name for name in files]


def load_report(folder: Path, tool: str, header_key: str) -> Report:
    """Load the report.json of a folder.

    Args:
        folder: Folder of the report.
        tool: Command that writes such reports, for error messages.
        header_key: Key of the header that no other kind of report has.

    Raises:
        FileNotFoundError: The folder has no report.json.
        ValueError: The file is not a report of this kind.
    """
    path = folder / JSON_NAME
    try:
        report = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{str(path)!r} is not valid JSON: {error}.') from error
    header = report.get('header') if isinstance(report, dict) else None
    if not isinstance(header, dict) or header_key not in header or not report.get('rows'):
        raise ValueError(
            f'{str(path)!r} is not a report of {tool}: expected a header with {header_key!r} and '
            'rows.'
        )
    return report
