"""Finding images, and the names of their results."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')


def find_images(names: Iterable[str | os.PathLike]) -> list[Path]:
    """Return the images that ``names`` stand for, each once.

    Args:
        names: Files, folders (without their subfolders) or globs (``**`` matches subfolders). A
            missing file with the suffix of an image stays in the list beside others that exist, so
            that it costs a long run one error and not all results.

    Raises:
        FileNotFoundError: A name is not a file or folder, and as a glob it matches no file.
        ValueError: A folder has no images, or ``names`` is empty.
    """
    paths = [Path(name) for name in names]
    some = any(path.is_file() or path.is_dir() for path in paths)
    images = [image for path in paths for image in _expand(path, keep_missing=some)]
    if not images:
        raise ValueError('images is empty: expected files, folders or globs.')
    return list({os.path.abspath(image): image for image in images}.values())


def result_names(images: list[Path]) -> list[str]:
    """Return the names of results: image paths relative to the folder that all images share.

    They have no suffix, unless two images differ by their suffixes alone; then all have theirs.
    """
    files = relative_files(images)
    stems = [os.path.splitext(file)[0] for file in files]
    # In lower case, because some file systems ignore case.
    return stems if len({stem.lower() for stem in stems}) == len(stems) else files


def relative_files(images: list[Path]) -> list[str]:
    """Return the image paths relative to the folder that all images share, with ``/``."""
    absolute = [Path(os.path.abspath(image)) for image in images]
    root = os.path.commonpath([image.parent for image in absolute])
    return [image.relative_to(root).as_posix() for image in absolute]


def _expand(name: Path, keep_missing: bool) -> list[Path]:
    if name.is_file():
        return [name]
    if name.is_dir():
        visible = (p for p in name.iterdir() if not p.name.startswith('.'))
        images = sorted(p for p in visible if p.suffix.lower() in SUFFIXES)
        if not images:
            raise ValueError(_no_images(name))
        return images
    matches = sorted(Path(match) for match in glob.glob(str(name), recursive=True))
    images = [match for match in matches if match.is_file()]
    if not images and keep_missing and name.suffix.lower() in SUFFIXES and not _is_glob(name):
        return [name]
    if not images:
        raise FileNotFoundError(f'there is no image, folder or match of {str(name)!r}.')
    return images


def _no_images(folder: Path) -> str:
    message = f'the folder {str(folder)!r} has no images ({", ".join(SUFFIXES)})'
    if any(path.suffix.lower() in SUFFIXES for path in folder.glob('*/*')):
        return f"{message}; those of its folders are '{folder}/*/*'."
    return f'{message}.'


def _is_glob(name: Path) -> bool:
    return glob.has_magic(str(name))
