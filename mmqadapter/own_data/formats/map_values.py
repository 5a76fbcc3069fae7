"""Reading of the pixels of label maps, and checks of the values of all maps of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmqadapter.own_data.samples import MaskPair

IGNORED = 255
MOST_VALUES = 4096
SOME, MANY = 2, 8  # values that only edges have


def codes_of(path: Path) -> np.ndarray:
    """Return the pixels of a label map (H, W): stored values, or red * 65536 + green * 256 + blue.

    Raises:
        ValueError: The file cannot be read, or is a JPEG, which changes values.
    """
    try:
        with Image.open(path) as picture:
            stored = np.asarray(picture)
            if picture.mode == 'RGBA':
                stored = stored[..., :3]
    except OSError as error:
        raise ValueError(f'{str(path)!r} cannot be read as a label map ({error}).') from error
    if stored.ndim == 2:
        return stored.astype(np.int64)
    if stored.shape[2] == 2:  # gray and alpha
        return stored[..., 0].astype(np.int64)
    red, green, blue = (stored[..., channel].astype(np.int64) for channel in range(3))
    if (red == green).all() and (red == blue).all():
        return red
    return red * 65536 + green * 256 + blue


def all_codes(root: Path, pairs: Sequence[MaskPair]) -> list[int]:
    """Return the values of all label maps, sorted.

    Raises:
        ValueError: A label map cannot be read or has another size than its image, the maps were
            smoothed, or have one value only.
    """
    codes, areas, unlike = set[int](), set[int](), list[str]()
    for pair in pairs:
        pixels = codes_of(pair.label_map)
        if pixels.shape != pair.size[::-1]:
            unlike.append(_size_fault(root, pair, pixels.shape))
        codes.update(np.unique(pixels).tolist())
        areas.update(np.unique(_inner(pixels)).tolist())
        if len(codes) > MOST_VALUES:
            raise ValueError(
                f'{str(pair.label_map)!r} and the label maps before it have over 4,096 different '
                'values: these are photos or smoothed pictures, not label maps. Store class '
                'numbers in PNG.'
            )
    if unlike:
        more = f' ({len(unlike)} such label maps)' if len(unlike) > 1 else ''
        raise ValueError(f'{unlike[0]}{more}; export the masks at the size of their images.')
    _check_values(root, sorted(codes), areas)
    return sorted(codes)


def _size_fault(root: Path, pair: MaskPair, shape: tuple[int, ...]) -> str:
    image, label_map = (str(path.relative_to(root)) for path in (pair.image, pair.label_map))
    size = f'{pair.size[0]} x {pair.size[1]}'
    return f'{label_map!r} is {shape[1]} x {shape[0]} pixels, its image {image!r} {size}'


def _inner(pixels: np.ndarray) -> np.ndarray:
    """Return the values (N,) of pixels whose eight neighbors have the same value."""
    rows = (pixels[1:] == pixels[:-1])[:, 1:-1]
    columns = pixels[:, 1:] == pixels[:, :-1]
    across = columns[:, 1:] & columns[:, :-1]
    inner = across[2:] & across[1:-1] & across[:-2] & rows[1:] & rows[:-1]
    return pixels[1:-1, 1:-1][inner]


def _check_values(root: Path, codes: list[int], areas: set[int]) -> None:
    """Check that there is something to learn, and that values are not those of smoothed edges.

    Classes have areas: somewhere, a pixel has neighbors of its own value on all sides.
    """
    if len(set(codes) - {IGNORED}) < 2 and codes != [0, IGNORED]:
        raise ValueError(
            f'the label maps below {str(root)!r} have no value but {_listed(codes)}: expected a '
            'value for each of two classes or more, as nothing is learned from one; check the '
            'export of the masks.'
        )
    edges = [code for code in codes if code not in areas]
    spread = len(edges) >= SOME and codes[-1] >= 2 * len(codes)
    if (spread or len(edges) >= MANY) and 2 * len(edges) >= len(codes):
        raise ValueError(
            f'the label maps below {str(root)!r} have {len(codes)} values, {len(edges)} of them '
            f'only on edges: these were smoothed, by JPEG or by resizing with interpolation. '
            'Export the masks anew as PNG without anti-aliasing, and resize with nearest-neighbor.'
        )


def _listed(codes: list[int]) -> str:
    return ' and '.join('255 (ignored)' if code == IGNORED else str(code) for code in codes)
