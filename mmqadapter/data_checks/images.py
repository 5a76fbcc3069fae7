"""Checks of one image file: what the loader of the config makes of what the file stores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from mmengine import fileio

from mmqadapter.data_checks.hints import missing_hint
from mmqadapter.data_checks.loader import LoadError
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem
from mmqadapter.data_checks.source import Source
from mmqadapter.data_checks.stored import Header, Stored, describe, read_header, read_stored

READ_ERRORS = (OSError, ValueError)
Fault = tuple[Literal['error', 'warning'], str, str]  # severity, kind, message


@dataclass(frozen=True)
class CheckedImage:
    """Result of the check of one image.

    Attributes:
        problems: What is wrong with it.
        size: Width and height in pixels as training sees it; None if it cannot be loaded.
        digest: Hash of the file's content; empty if it cannot be read or the image is blank, since
            blank images are equal by chance.
    """

    problems: list[Problem]
    size: tuple[int, int] | None = None
    digest: str = ''


def check_image(sample: dict, source: Source) -> CheckedImage:
    """Load an image as training does, and compare it with what the file stores.

    Args:
        sample: Entry of the dataset, with the path as ``img_path``.
        source: The dataset.
    """
    path = sample['img_path']
    content, problems = read_file(path, 'missing image', source)
    if content is None:
        return CheckedImage(problems)
    where = source.place(path)
    header = read_header(content)
    stored = read_stored(content, header)
    try:
        image = source.loader.image(dict(sample))
    except LoadError as error:
        message = f'cannot be loaded by {source.loader}{_reason(error, stored)}'
        return CheckedImage([Problem(ERROR, 'unreadable file', where, message)])
    faults = [*_shape_faults(image, source), *(_losses(image, stored) if stored else ())]
    faults += _rotation(image, header) if header else ()
    is_blank = image.size == 0 or image.min() == image.max()
    digest = '' if is_blank else hashlib.blake2b(content, digest_size=16).hexdigest()
    problems = [Problem(severity, kind, where, message) for severity, kind, message in faults]
    return CheckedImage(problems, (image.shape[1], image.shape[0]), digest)


def read_file(path: str, missing: str, source: Source) -> tuple[bytes | None, list[Problem]]:
    """Return the content of a file, or the problem that it does not exist or cannot be read.

    Args:
        path: Path of the file.
        missing: Kind of the problem if the file does not exist.
        source: The dataset that it belongs to.
    """
    backend_args = getattr(source.dataset, 'backend_args', None)  # mmpretrain's have none
    if not _is_file(path, backend_args):
        message = f'the file does not exist{missing_hint(path)}'
        return None, [Problem(ERROR, missing, source.place(path), message)]
    try:
        return fileio.get(path, backend_args=backend_args), []
    except READ_ERRORS as error:
        message = f'cannot be read: {error}'
        return None, [Problem(ERROR, 'unreadable file', source.place(path), message)]


def _is_file(path: str, backend_args: dict | None) -> bool:
    try:
        return fileio.isfile(path, backend_args=backend_args)
    except KeyError:  # a URL as file_name, behind the folder: mmengine takes both for a scheme
        return False


def _reason(error: LoadError, stored: Stored | None) -> str:
    if stored and (stored.values is not None or stored.bands > 1):
        return f': it stores {stored}; save it as 8-bit gray or RGB, or load it another way'
    return f': {error}' if str(error) else ': the file is damaged or no image'


def _shape_faults(image: np.ndarray, source: Source) -> Iterator[Fault]:
    channels = image.shape[2] if image.ndim == 3 else 1
    expected = source.channels
    if image.ndim not in (2, 3) or (expected and channels != expected):
        message = (
            f'is loaded with the shape {image.shape}, but model.data_preprocessor.mean has '
            f'{expected} values: expected (height, width, {expected})'
        )
        yield ERROR, 'channels', message
    if image.dtype.kind == 'f' and not np.isfinite(image).all():
        yield ERROR, 'not finite', 'is loaded with values that are NaN or infinite'


def _losses(image: np.ndarray, stored: Stored) -> Iterator[Fault]:
    """Yield what the loader cuts or drops of what the file stores."""
    if stored.values is not None and stored.values.size and image.size:
        yield from _value_losses(image, stored.values, str(stored))
    channels = image.shape[2] if image.ndim == 3 else 1
    more_than_color = stored.bands > max(3, channels)
    if (more_than_color or stored.bands == 2 != channels) and _extra_band_varies(stored):
        band = 'the alpha channel' if stored.alpha else 'the rest'
        message = f'stores {stored}; training sees {channels} channel(s), {band} is dropped'
        yield WARNING, 'band dropped', message
    if stored.pages > 1:
        yield WARNING, 'page dropped', f'holds {stored.pages} images; training sees the first'


def _value_losses(image: np.ndarray, values: np.ndarray, stored: str) -> Iterator[Fault]:
    low, high = image.min(), image.max()
    if low == high and values.min() < values.max():
        message = f'stores {stored}; training sees only the value {high}'
        yield ERROR, 'constant image', f'{message}: scale it to 8 bits, 0 to 255'
    elif values.dtype.itemsize > 1 and (
        image.dtype == np.uint8 or low > values.min() or high < values.max()
    ):
        message = f'stores {stored}; training sees {describe(image)}{_how(image, values)}'
        yield WARNING, 'values cut', f'{message}: scale it to 8 bits, 0 to 255'


def _extra_band_varies(stored: Stored) -> bool:
    """Return whether the bands after gray or color hold information; alpha may be constant."""
    if stored.values is None or stored.values.ndim == 2:
        return True
    extra = stored.values[..., 3 if stored.bands > 3 else 1 :]
    return bool(extra.min() != extra.max())


def _how(image: np.ndarray, values: np.ndarray) -> str:
    """Return how values were brought to 8 bits, where that can be seen."""
    if values.dtype.kind == 'u' and abs(int(values.max()) // 256 - int(image.max())) <= 1:
        return ' (value // 256)'
    return ' (clipped)' if image.max() == 255 < values.max() else ''


def _rotation(image: np.ndarray, header: Header) -> Iterator[Fault]:
    """Warn of an EXIF rotation that keeps width and height, so that no size shows it."""
    height, width = image.shape[:2]
    if header.orientation in (2, 3, 4) or (header.orientation > 4 and width == height):
        message = (
            f'has the EXIF orientation {header.orientation}: the loader may turn it, and never '
            'turns annotations; save it turned, without the mark, and annotate that'
        )
        yield WARNING, 'EXIF orientation', message
