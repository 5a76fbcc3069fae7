"""Reading of files that anybody may have written."""

from __future__ import annotations

import os
from pathlib import Path


def require_file(path: str | os.PathLike, remedy: str) -> None:
    """Check that a file exists.

    Args:
        path: Path of the file.
        remedy: What the user can do, as the end of the error message.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no file {str(path)!r}; {remedy}.')


def read_limited(path: str | os.PathLike, limit: int, remedy: str) -> bytes:
    """Return the content of a file of at most ``limit`` bytes; of a longer one no more is read.

    Args:
        path: Path of the file.
        limit: Number of bytes.
        remedy: See :func:`require_file`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is longer.
    """
    require_file(path, remedy)
    with open(path, 'rb') as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f'{str(path)!r} is longer than {limit:,} bytes; {remedy}.')
    return content
