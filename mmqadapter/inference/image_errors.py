"""Errors for images that cannot be predicted: one image, and all of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import cv2

from mmqadapter.utils.text import one_line

Batch = TypeVar('Batch')
Samples = TypeVar('Samples')
LISTED = 10  # images in the text of an error; `failures` has all


class ImageError(ValueError):
    """Error for one image that cannot be read or predicted; its text is the reason."""


class FailedImagesError(ValueError):
    """Error for the images of a run that could not be predicted; raised after all others are done.

    Args:
        failures: Why, by image.
        total: Number of all images of the run.
    """

    def __init__(self, failures: Mapping[Path, str], total: int) -> None:
        self.failures = dict(failures)
        self.title = f'{len(failures)} of {total} images could not be predicted'
        lines = [f'{image}: {reason}' for image, reason in failures.items()]
        more = [f'... and {len(lines) - LISTED} more'] if len(lines) > LISTED else []
        super().__init__('\n'.join([f'{self.title}:', *lines[:LISTED], *more]))


def loading_error(path: Path, error: BaseException) -> ImageError:
    """Return the error for an image that the config's loader cannot read.

    Args:
        path: The image.
        error: What the loader raised.
    """
    try:
        empty = os.stat(path).st_size == 0
    except OSError as missing:
        error, empty = missing, False
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return ImageError('the file does not exist')
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f'cannot be read ({error.strerror})')
    if empty:
        return ImageError('cannot be read as an image (the file is empty)')
    if isinstance(error, MemoryError):
        return ImageError('is too large for the memory')
    # OpenCV and mmcv say no more than that they failed.
    silent = isinstance(error, (AssertionError, cv2.error))
    reason = (
        'expected an undamaged image file of 8-bit gray or RGB' if silent else one_line(error, 150)
    )
    return ImageError(f'cannot be read as an image: {reason}')


def step_error(error: BaseException) -> ImageError:
    """Return the error for an image that was read, but that transforms or model fail on."""
    if isinstance(error, MemoryError) or 'memory' in str(error).lower():
        return ImageError(f'is too large for the memory ({one_line(error, 150)})')
    return ImageError(
        f'cannot be predicted ({type(error).__name__}: {one_line(error, 150)}); it may be too '
        'small or too narrow'
    )


def guarded_step(step: Callable[[Batch], Samples], batch: Batch) -> Samples:
    """Return ``step(batch)``, the prediction for one image.

    Raises:
        ImageError: The model fails on the image.
    """
    try:
        return step(batch)
    except (AssertionError, IndexError, MemoryError, RuntimeError, ValueError) as error:
        raise step_error(error) from error
