"""Lists of image files through the file backends of mmengine, and work on many with progress."""

from __future__ import annotations

import os.path as osp
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mmengine import fileio
from rich.console import Console
from rich.progress import track

IMAGE_SUFFIXES = (
    '.bmp',
    '.gif',
    '.jpeg',
    '.jpg',
    '.jp2',
    '.png',
    '.pgm',
    '.ppm',
    '.tif',
    '.tiff',
    '.webp',
)

Item = TypeVar('Item')
Result = TypeVar('Result')


def list_images(folder: str, backend_args: dict | None = None) -> frozenset[str]:
    """Return the paths of all image files below a folder; suffixes in any case."""
    if not fileio.isdir(folder, backend_args=backend_args):
        return frozenset()
    names = fileio.list_dir_or_file(
        folder, list_dir=False, recursive=True, backend_args=backend_args
    )
    return frozenset(
        osp.normpath(osp.join(folder, name))
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES)
    )


def map_with_progress(
    function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> Iterable[Result]:
    """Apply ``function`` to all items, in order, with a progress bar, in threads.

    Decoding an image releases the global interpreter lock.
    """
    with ThreadPoolExecutor() as pool:
        yield from track(
            pool.map(function, items), title, total=len(items), console=Console(stderr=True)
        )
