"""Reading of image files for the data checks, through the file backends of mmengine."""

from __future__ import annotations

import io
import os.path as osp
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mmengine import fileio
from PIL import ExifTags, Image
from rich.console import Console
from rich.progress import track

IMAGE_SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
# Errors that Pillow raises for broken files.
READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)

Item = TypeVar('Item')
Result = TypeVar('Result')


def open_image(path: str, backend_args: dict | None = None) -> Image.Image:
    """Read and fully decode an image, so that a truncated file raises an error.

    Raises:
        OSError, SyntaxError, ValueError, EOFError, DecompressionBombError: see ``READ_ERRORS``.
    """
    image = Image.open(io.BytesIO(fileio.get(path, backend_args=backend_args)))
    image.load()
    return image


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height as the training loader sees them, with the EXIF orientation applied.

    OpenCV, which loads the images, does not apply that of WebP files.
    """
    width, height = image.size
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    swapped = image.format != 'WEBP' and orientation in (5, 6, 7, 8)
    return (height, width) if swapped else (width, height)


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
