"""Choice of the one image size that a graph accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def choose_size(model: Mapping[str, Any], requested: Sequence[int] | None) -> tuple[int, int]:
    """Return the height and width of a graph's images, in pixels.

    Without a request this is the window of sliding inference, or else the size to which images
    are padded in tests or in training.

    Args:
        model: Config of a segmentor.
        requested: Height and width; None for those of the config.

    Raises:
        ValueError: The config names no size, or the model is never tested at this size.
    """
    preprocessor = model.get('data_preprocessor') or {}
    padding = preprocessor.get('test_cfg') or {}
    sizes = (
        requested,
        (model.get('test_cfg') or {}).get('crop_size'),
        padding.get('size'),
        preprocessor.get('size'),
    )
    size = next((size for size in sizes if size is not None), None)
    if size is None:
        raise ValueError(
            'the config names no image size (data_preprocessor.size, test_cfg.crop_size); give '
            '--image-size HEIGHT WIDTH.'
        )
    height, width = _checked(size)
    divisor = padding.get('size_divisor') or 1
    if height % divisor or width % divisor:
        up = [-(-length // divisor) * divisor for length in (height, width)]
        raise ValueError(
            f'image size {height} x {width} is invalid: the config pads images to multiples of '
            f'{divisor} (data_preprocessor.test_cfg.size_divisor); give --image-size {up[0]} '
            f'{up[1]}.'
        )
    return height, width


def _checked(size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise ValueError(
            f'image size {size!r} is invalid: expected a height and a width in pixels, above 0.'
        )
    return size[0], size[1]
