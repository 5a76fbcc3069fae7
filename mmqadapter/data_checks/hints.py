"""Hints at why a file that a dataset names does not exist."""

from __future__ import annotations

import os
import os.path as osp
from functools import lru_cache


def missing_hint(path: str) -> str:
    """Return what is there instead of a missing file, to append to a message; empty for nothing."""
    folder, name = osp.split(path)
    if '://' in path.partition('/')[2]:
        return '; a file_name must be a path below data_prefix, not a URL'
    if '\\' in name:
        return '; write / for \\ in file names'
    similar = _names(folder).get(name.lower())
    if similar:
        return f'; there is {similar!r}, and case counts'
    doubled, suffix = osp.splitext(name)
    if osp.splitext(doubled)[1] == suffix and _names(folder).get(doubled.lower()):
        return f'; there is {doubled!r}: leave the suffix out of the names in ann_file'
    parent, last = osp.split(folder)
    if osp.basename(parent) == last and _names(parent).get(name.lower()):
        return f'; it is in {parent!r}: file_name must not repeat the folder of data_prefix'
    return ''


@lru_cache(maxsize=4)
def _names(folder: str) -> dict[str, str]:
    """Return the names in a local folder by their lower case."""
    try:
        return {name.lower(): name for name in os.listdir(folder or '.')}
    except OSError:
        return {}


def forget_folders() -> None:
    """Forget the contents of folders, which may have changed since the last check."""
    _names.cache_clear()
