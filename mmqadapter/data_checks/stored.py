"""Content of an image file, apart from how it is loaded: bit depth, bands, pages, orientation."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

try:
    import tifffile
except ImportError:  # an optional package of mmcv
    tifffile = None  # type: ignore[assignment]

# Formats that have at most 8 bits in the modes below, once PNG and TIFF say so in their headers.
PLAIN_FORMATS = ('BMP', 'GIF', 'JPEG', 'MPO', 'PNG', 'TIFF', 'WEBP')
PLAIN_MODES = ('1', 'CMYK', 'L', 'LAB', 'P', 'RGB', 'YCbCr')
BITS, PHOTOMETRIC, SAMPLES, EXTRA = 258, 262, 277, 338  # TIFF tags
CMYK = 5  # value of PHOTOMETRIC


@dataclass(frozen=True)
class Header:
    """Header of an image file, as Pillow reads it.

    Attributes:
        format: Name of the file format.
        mode: Pillow's name of the pixel format.
        size: Width and height in pixels, before any rotation.
        pages: Number of images of the first one's size.
        orientation: EXIF orientation; 1 for none.
    """

    format: str
    mode: str
    size: tuple[int, int]
    pages: int
    orientation: int


@dataclass(frozen=True)
class Stored:
    """Content of an image file that has more than 8 bits, more than three bands or several pages.

    Attributes:
        bands: Number of bands of a pixel.
        alpha: Whether the last band is an alpha channel.
        pages: Number of images of the first one's size.
        values: Pixels (H, W) or (H, W, C) in the type of the file; None if they cannot be decoded.
    """

    bands: int
    alpha: bool
    pages: int
    values: np.ndarray | None

    def __str__(self) -> str:
        """Return bands, type and range in words."""
        bands = 'one band' if self.bands == 1 else f'{self.bands} bands'
        if self.values is None:
            return bands
        return f'{bands} of {describe(self.values)}'


def describe(values: np.ndarray) -> str:
    """Return type and range of an array in words, such as ``'uint16, 0 to 4095'``."""
    return f'{values.dtype}, {values.min():.6g} to {values.max():.6g}'


def read_header(content: bytes) -> Header | None:
    """Read the header of an image file; None if Pillow cannot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # a large image is no attack here
            with Image.open(io.BytesIO(content)) as image:
                name, mode, size = str(image.format), image.mode, image.size
                return Header(name, mode, size, _pages(image), _orientation(image))
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError):
        return None


def read_stored(content: bytes, header: Header | None) -> Stored | None:
    """Read what a file stores; None if that is one image of at most 8 bits in usual bands."""
    tags = _tiff_tags(content) if content[:2] in (b'II', b'MM') else {}
    bands, bits = tags.get(SAMPLES, 1), tags.get(BITS, (1,))
    if header and _is_plain(header, content) and bands <= 4 and max(_tuple(bits)) <= 8:
        usual = not tags.get(EXTRA)
        if usual and header.pages == 1:
            return None
    values = _decode(content)
    if not tags:
        bands = 1 if values is None or values.ndim == 2 else values.shape[2]
    is_tiff_alpha = any(kind in (1, 2) for kind in _tuple(tags.get(EXTRA, ())))
    bands = 3 if tags.get(PHOTOMETRIC) == CMYK and bands == 4 else bands
    alpha = is_tiff_alpha if tags else bands in (2, 4)
    return Stored(bands, alpha, header.pages if header else 1, values)


def _is_plain(header: Header, content: bytes) -> bool:
    deep = header.format == 'PNG' and content[24] > 8  # bit depth in the header of a PNG
    return header.format in PLAIN_FORMATS and header.mode in PLAIN_MODES and not deep


def _orientation(image: Image.Image) -> int:
    if image.format == 'PNG' and 'exif' not in image.info:  # Pillow would decode it to find none
        return 1
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def _pages(image: Image.Image) -> int:
    """Count the images of the first one's size; smaller ones are previews."""
    frames = getattr(image, 'n_frames', 1)
    if image.format != 'TIFF' or frames == 1:
        return 1 if image.format == 'MPO' else frames  # the second one of MPO is a preview
    size, pages = image.size, 0
    for number in range(frames):
        image.seek(number)
        pages += image.size == size
    return pages


def _tiff_tags(content: bytes) -> dict[int, Any]:
    """Return the tags of a TIFF that describe its pixels, also of one that Pillow cannot open."""
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(content[:8])
        stream = io.BytesIO(content)
        stream.seek(directory.next)
        directory.load(stream)
        return {
            key: directory[key] for key in (BITS, PHOTOMETRIC, SAMPLES, EXTRA) if key in directory
        }
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return {}


def _decode(content: bytes) -> np.ndarray | None:
    """Decode the first image in the type of the file; None if neither OpenCV nor tifffile can."""
    try:
        values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None and tifffile is not None and content[:2] in (b'II', b'MM'):
        try:
            values = _channels_last(tifffile.imread(io.BytesIO(content), key=0))
        except Exception:  # decoders of tifffile may raise anything
            return None
    return values


def _channels_last(values: np.ndarray) -> np.ndarray:
    planar = values.ndim == 3 and values.shape[0] < min(values.shape[1:])
    return np.moveaxis(values, 0, -1) if planar else values


def _tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)
