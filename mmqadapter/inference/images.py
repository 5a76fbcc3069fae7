"""Which images are meant, and under which names their results are kept."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')


def find_images(names: Iterable[str | os.PathLike]) -> list[Path]:
    """Images that files, folders (without subfolders) and globs (``**`` too) name, each once.

    Raises:
        FileNotFoundError: A name that is none of the three, or a glob without a match.
        ValueError: A folder without images, or no name at all.
    """
    found = [image for name in names for image in _expand(Path(name))]
    if not found:
        raise ValueError('no images are given; name files, folders or globs.')
    return list({os.path.abspath(image): image for image in found}.values())


def result_names(images: list[Path]) -> list[str]:
    """Names for results, without suffix, relative to the folder that all images share.

    No two are equal: where two differ by their suffixes alone all keep them.
    """
    files = relative_files(images)
    stems = [os.path.splitext(file)[0] for file in files]
    # Case does not tell files apart everywhere.
    return stems if len({stem.lower() for stem in stems}) == len(stems) else files


def relative_files(images: list[Path]) -> list[str]:
    """Paths relative to the folder that all images share, with ``/``."""
    absolute = [Path(os.path.abspath(image)) for image in images]
    root = os.path.commonpath([image.parent for image in absolute])
    return [image.relative_to(root).as_posix() for image in absolute]


def read_image(path: Path) -> np.ndarray:
    """Image as (H, W, 3) bytes, RGB.

    Raises:
        ValueError: It cannot be read.
    """
    import mmcv  # here, so that the package can be imported without it

    try:
        image = mmcv.imread(str(path), channel_order='rgb')
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(f'{str(path)!r} cannot be read as an image; is it damaged, or no image?')
    return image


def _expand(name: Path) -> list[Path]:
    if name.is_file():
        return [name]
    if name.is_dir():
        visible = (p for p in name.iterdir() if not p.name.startswith('.'))
        images = sorted(p for p in visible if p.suffix.lower() in SUFFIXES)
        if not images:
            raise ValueError(f'the folder {str(name)!r} holds no images ({", ".join(SUFFIXES)}).')
        return images
    matches = sorted(Path(match) for match in glob.glob(str(name), recursive=True))
    images = [match for match in matches if match.is_file()]
    if not images:
        raise FileNotFoundError(f'there is no image, folder or match of {str(name)!r}.')
    return images
