"""Warnings of what the config's loader drops of an image: bits and bands, as in training."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image


class LossReport:
    """Log of what was dropped while loading images; each kind is logged once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def check(self, path: Path, loaded: np.ndarray) -> None:
        """Compare a file with what was loaded of it, and log a new kind of loss.

        Args:
            path: The image; one that Pillow does not know is not checked.
            loaded: (H, W) or (H, W, C).
        """
        for loss in set(losses(path, loaded)) - self._logged:
            self._logged.add(loss)
            print_log(
                f'{path} {loss}; the model sees it as in training (said once for all images).',
                logger='current',
                level=logging.WARNING,
            )


def losses(path: Path, loaded: np.ndarray) -> list[str]:
    """Return what was dropped when ``path`` was loaded as ``loaded`` (H, W) or (H, W, C)."""
    stored = _stored(path)
    channels = 1 if loaded.ndim == 2 else loaded.shape[2]
    found = []
    if stored.bits > 8 and loaded.dtype == np.uint8:
        found.append(f'has {stored.bits} bits per value, of which the loader of the config keeps 8')
    if stored.bands > channels:
        found.append(
            f'has {stored.bands} bands, of which the loader of the config keeps {channels}'
        )
    return found


class _Stored(NamedTuple):
    """Bits per value and bands of an image in its file; zeros if they are not known."""

    bits: int = 0
    bands: int = 0


def _stored(path: Path) -> _Stored:
    """Return what the header of a file says; OpenCV decodes the file if Pillow does not know it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large images, which are not decoded here
            with Image.open(path) as image:
                cmyk = image.mode == 'CMYK'  # which is converted to three bands, not cut
                return _Stored(_bits(image), 3 if cmyk else len(image.getbands()))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return _decoded(path)


def _decoded(path: Path) -> _Stored:
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        image = None
    if image is None:
        return _Stored()
    return _Stored(8 * image.dtype.itemsize, np.atleast_3d(image).shape[2])


def _bits(image: Any) -> int:
    """Return the bits per value in the file, which Pillow may show with fewer."""
    tile = image.tile[0].args if getattr(image, 'tile', None) else None
    raw = str(tile[0] if isinstance(tile, tuple) else tile)
    if image.mode == 'F' or (image.mode == 'I' and '16' not in raw):
        return 32
    return 16 if image.mode.startswith('I') or ';16' in raw else 8
