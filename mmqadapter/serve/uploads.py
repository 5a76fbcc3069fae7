"""Checks of an uploaded image before it is decoded: kind, bytes, and pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mmqadapter.inference.image_errors import ImageError, loading_error

FORMATS = ('BMP', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')
MEGABYTE = 2**20
MEGAPIXEL = 10**6


@dataclass(frozen=True)
class UploadLimits:
    """Largest image that a server accepts.

    Attributes:
        megabytes: Size of the file in 2^20 bytes.
        megapixels: Width times height in 10^6 pixels. It bounds the memory: a segmentor has a
            float of 4 bytes for each pixel and class.

    Raises:
        ValueError: A limit is not above 0.
    """

    megabytes: float = 20
    megapixels: float = 16

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float('inf'):
                raise ValueError(f'max_{name}={value} is invalid: expected a number above 0.')

    def check(self, path: Path) -> None:
        """Check an image by its size on disk and its header.

        Raises:
            ImageError: It is too large, or not an image.
        """
        megabytes = _bytes_of(path) / MEGABYTE
        if megabytes > self.megabytes:
            raise ImageError(
                f'has {megabytes:.1f} MB: expected at most {self.megabytes:g} MB '
                '(mmqadapter serve --max-megabytes)'
            )
        width, height = _size(path)
        if width * height > self.megapixels * MEGAPIXEL:
            raise ImageError(
                f'has {width} x {height} pixels: expected at most {self.megapixels:g} megapixels '
                '(mmqadapter serve --max-megapixels)'
            )


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise loading_error(path, error) from error


def _size(path: Path) -> tuple[int, int]:
    """Return width and height as the header says, without decoding the image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large images: the limit is checked here
            with Image.open(path, formats=FORMATS) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise ImageError('has too many pixels') from error
    except (OSError, SyntaxError, ValueError) as error:
        if not _bytes_of(path):
            raise loading_error(path, error) from error
        kinds = ', '.join(FORMATS[:-1])
        raise ImageError(
            f'is not an image: expected an undamaged {kinds} or {FORMATS[-1]} file'
        ) from error
