"""The one image size that a graph takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def choose_size(model: Mapping[str, Any], given: Sequence[int] | None) -> tuple[int, int]:
    """Height and width, in pixels: those given, or those that a model's config names.

    That is the window of sliding inference, or else the size that images are padded to in tests
    or in training.

    Args:
        model: Config of a segmentor.
        given: Height and width; None for the config's own.

    Raises:
        ValueError: Nothing names a size, or the size is none that the model is tested with.
    """
    preparing = model.get('data_preprocessor') or {}
    padding = preparing.get('test_cfg') or {}
    named = (given, (model.get('test_cfg') or {}).get('crop_size'), padding.get('size'))
    size = next((s for s in (*named, preparing.get('size')) if s is not None), None)
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
            f'image size {height} x {width}: the config pads images to multiples of {divisor} '
            f'(data_preprocessor.test_cfg.size_divisor); give --image-size {up[0]} {up[1]}.'
        )
    return height, width


def _checked(size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise ValueError(f'image size {size!r} is not a height and a width in pixels, above 0.')
    return size[0], size[1]
