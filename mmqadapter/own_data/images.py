"""Finding the images below a folder and reading their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp'}
UNREAD = ('.avif', '.dng', '.gif', '.heic', '.heif', '.jp2')
SPLIT_WORDS = {
    'train': 'train', 'training': 'train', 'trn': 'train',
    'val': 'val', 'valid': 'val', 'validation': 'val', 'dev': 'val',
    'test': 'test', 'testing': 'test',
}  # fmt: skip


def files_below(root: Path, *suffixes: str) -> list[Path]:
    """Return the files below ``root`` with these lower-case suffixes, sorted; no hidden ones."""
    found = (path for path in root.rglob('*') if path.suffix.lower() in suffixes)
    return sorted(path for path in found if path.is_file() and not _hidden(path, root))


def images_below(root: Path) -> list[Path]:
    """Return the image files below ``root``, sorted."""
    return files_below(root, *SUFFIXES)


def unread_images(root: Path) -> Iterator[str]:
    """Yield a remark on each kind of image file below ``root`` that is not read."""
    for suffix in UNREAD:
        if files := files_below(root, suffix):
            yield f'{len(files)} {suffix} files are left out; convert them to PNG to use them'


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels, as loaded: turned by the EXIF orientation.

    Raises:
        ValueError: The file is not a readable image.
    """
    try:
        with Image.open(path) as image:
            # The loaders of training do not turn WebP.
            turned = image.format != 'WEBP' and image.getexif().get(0x0112, 1) >= 5
            return image.size[::-1] if turned else image.size
    except (Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ValueError(f'{str(path)!r} cannot be read as an image ({error}).') from error


def split_of(path: Path, root: Path) -> str:
    """Return the split that a folder name between ``root`` and ``path`` states, or ``'all'``."""
    for part in reversed(path.relative_to(root).parts[:-1]):
        for word in _words(part):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return 'all'


def by_stem(paths: list[Path]) -> dict[str, list[Path]]:
    """Return the paths by file name without suffix."""
    stems: dict[str, list[Path]] = {}
    for path in paths:
        stems.setdefault(path.stem, []).append(path)
    return stems


def _words(folder: str) -> Iterator[str]:
    """Yield the words of a folder name, such as ``train2017``, ``img_train`` or ``trainannot``."""
    name = folder.lower().rstrip('0123456789')
    yield from name.replace('-', '_').split('_')
    for word in SPLIT_WORDS:
        if name.startswith(word) and name[len(word) :] in (
            'annot',
            'annotations',
            'masks',
            'labels',
        ):
            yield word


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(('.', '__MACOSX')) for part in path.relative_to(root).parts)
