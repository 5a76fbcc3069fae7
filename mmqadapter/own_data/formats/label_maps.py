"""Label maps: one picture per image whose pixels are class numbers, 0 and 255, or colors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mmqadapter.own_data.images import SUFFIXES, files_below, image_size, images_below, split_of
from mmqadapter.own_data.samples import LabelMapData, MaskPair

NAME = 'label maps'
MASK_WORDS = (
    'mask', 'masks', 'label', 'labels', 'annotation', 'annotations', 'annot', 'ann', 'gt', 'seg',
    'segmentationclass', 'semantic', 'labelmaps', 'groundtruth',
)  # fmt: skip
MASK_ENDINGS = (
    '_mask',
    '_label',
    '_labels',
    '_gt',
    '_seg',
    '-mask',
    '.mask',
    '_L',
    '_labelIds',
    '',
)
LOSSLESS = {'.png', '.tif', '.tiff', '.bmp'}
IGNORED = 255
NAME_FILES = ('classes.txt', 'labels.txt', 'class_names.txt', 'labelmap.txt', 'label_colors.txt')


def matches(root: Path) -> bool:
    """Return whether images below ``root`` have label maps."""
    return bool(_pairs(root))


def read(root: Path) -> LabelMapData:
    """Pair the images below ``root`` with their label maps and read the values of all maps.

    Raises:
        ValueError: An image has no label map, or the values are no classes.
    """
    pairs = _pairs(root)
    splits: dict[str, list[MaskPair]] = {}
    for image, label_map in pairs:
        pair = MaskPair(image, label_map, image_size(image))
        splits.setdefault(split_of(image, root), []).append(pair)
    codes = _all_codes(label_map for _, label_map in pairs)
    data = _data(root, splits, codes, _names(root))
    data.notes.extend(_left_out(root, [image for image, _ in pairs]))
    return data


def _left_out(root: Path, images: list[Path]) -> Iterator[str]:
    """Yield notes on label maps that belong to no image or are JPEG."""
    stems = {image.stem for image in images}
    maps = [path for path in files_below(root, *LOSSLESS) if _in_mask_folder(path, root)]
    lost = [path for path in maps if _plain_stem(path) not in stems]
    if lost:
        yield f'{len(lost)} label maps have no image, such as {str(lost[0])!r}'
    pictures = jpeg_maps(root)
    if pictures:
        yield (
            f'{len(pictures)} label maps in JPEG are left out, such as {str(pictures[0])!r}: JPEG '
            'changes class numbers; store them as PNG'
        )


def jpeg_maps(root: Path) -> list[Path]:
    """Return the JPEG files below ``root`` where label maps are expected, by folder or name."""
    return [
        path
        for path in files_below(root, '.jpg', '.jpeg')
        if _in_mask_folder(path, root) or _has_image(path)
    ]


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


def _pairs(root: Path) -> list[tuple[Path, Path]]:
    maps = [path for path in files_below(root, *LOSSLESS) if _in_mask_folder(path, root)]
    if not maps:
        return _pairs_by_ending(root)
    images = [path for path in images_below(root) if not _in_mask_folder(path, root)]
    named: dict[str, list[Path]] = {}
    for path in maps:
        named.setdefault(_plain_stem(path), []).append(path)
    pairs = []
    for image in images:
        candidates = named.get(image.stem, [])
        same = [path for path in candidates if split_of(path, root) == split_of(image, root)]
        if same or candidates:
            pairs.append((image, (same or candidates)[0]))
    return pairs


def _pairs_by_ending(root: Path) -> list[tuple[Path, Path]]:
    """Pair ``NAME.jpg`` with ``NAME_mask.png`` in the same folder."""
    pairs: list[tuple[Path, Path]] = []
    for image in images_below(root):
        for ending in MASK_ENDINGS[:-1]:
            found = [image.with_name(image.stem + ending + suffix) for suffix in sorted(LOSSLESS)]
            pairs.extend((image, path) for path in found if path.is_file())
    return pairs


def _has_image(path: Path) -> bool:
    """Return whether ``NAME.*`` lies beside ``NAME_mask.jpg``."""
    stem = _plain_stem(path)
    return stem != path.stem and any(path.with_name(stem + end).is_file() for end in SUFFIXES)


def _in_mask_folder(path: Path, root: Path) -> bool:
    return any(_is_mask_word(part.lower()) for part in path.relative_to(root).parts[:-1])


def _is_mask_word(folder: str) -> bool:
    words = folder.replace('-', '_').split('_')
    return any(word in MASK_WORDS for word in words) or folder.endswith('annot')


def _plain_stem(path: Path) -> str:
    for ending in MASK_ENDINGS:
        if ending and path.stem.endswith(ending):
            return path.stem.removesuffix(ending)
    return path.stem


def _all_codes(paths: Iterable[Path]) -> list[int]:
    codes: set[int] = set()
    for path in paths:
        codes.update(np.unique(codes_of(path)).tolist())
        if len(codes) > 4096:
            raise ValueError(
                f'{str(path)!r} and the label maps before it have over 4,096 different values: '
                'these are photos or smoothed pictures, not label maps. Store class numbers in PNG.'
            )
    return sorted(codes)


def _names(root: Path) -> list[str]:
    """Return class names from a text file: one per line, before a colon if colors follow."""
    for path in files_below(root, '.txt'):
        if path.name in NAME_FILES:
            lines = (line.strip() for line in path.read_text('utf-8').splitlines())
            return [line.split(':')[0].strip() for line in lines if line and line[0] != '#']
    return []


def _data(
    root: Path, splits: dict[str, list[MaskPair]], codes: list[int], names: list[str]
) -> LabelMapData:
    if codes in ([0, 255], [0, 1]) and len(names) != 3:
        numbers = {0: 0, 255: 1} if codes == [0, 255] else {}
        note = ['values 0 and 255 become class 0 and class 1'] if numbers else []
        classes = tuple(names) if len(names) == 2 else ('background', 'object')
        return LabelMapData(NAME, root, classes, splits, numbers, note)
    if max(codes) > IGNORED:
        return _colored(root, splits, codes, names)
    used = [code for code in codes if code != IGNORED]
    count = max(len(names), used[-1] + 1)
    classes = tuple(names) if len(names) == count else _numbered(count)
    notes = []
    if len(names) != count:
        notes.append(f'no file with {count} class names: they are called class_0, class_1, ...')
    unused = sorted(set(range(count)) - set(used))
    if unused:
        notes.append(f'no pixel has class {", ".join(map(str, unused[:10]))}')
    return LabelMapData(NAME, root, classes, splits, {}, notes)


def _colored(
    root: Path, splits: dict[str, list[MaskPair]], codes: list[int], names: list[str]
) -> LabelMapData:
    if len(codes) > IGNORED:
        raise ValueError(
            f'the label maps below {str(root)!r} have {len(codes)} colors: expected at most 255, '
            'one per class. Smoothed edges add colors: export without anti-aliasing, as PNG.'
        )
    numbers = {code: number for number, code in enumerate(codes)}
    classes = (
        tuple(names) if len(names) == len(codes) else tuple(f'color_{code:06x}' for code in codes)
    )
    note = f'{len(codes)} colors become class numbers, in the order of their hexadecimal codes'
    return LabelMapData(NAME, root, classes, splits, numbers, [note])


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f'class_{number}' for number in range(count))
