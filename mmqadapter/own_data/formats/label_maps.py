"""Label maps: one picture per image whose pixels are class numbers, 0 and 255, or colors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmqadapter.own_data.formats.files import read_text
from mmqadapter.own_data.formats.map_values import IGNORED, all_codes
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
NAME_FILES = ('classes.txt', 'labels.txt', 'class_names.txt', 'labelmap.txt', 'label_colors.txt')


def matches(root: Path) -> bool:
    """Return whether images below ``root`` have label maps."""
    return bool(_pairs(root))


def read(root: Path) -> LabelMapData:
    """Pair the images below ``root`` with their label maps and read the values of all maps.

    Raises:
        ValueError: A label map has another size than its image, or the values are no classes.
    """
    pairs = [MaskPair(image, label_map, image_size(image)) for image, label_map in _pairs(root)]
    splits: dict[str, list[MaskPair]] = {}
    for pair in pairs:
        splits.setdefault(split_of(pair.image, root), []).append(pair)
    data = _data(root, splits, all_codes(root, pairs), _names(root))
    data.notes.extend(_left_out(root, pairs))
    return data


def _left_out(root: Path, pairs: list[MaskPair]) -> Iterator[str]:
    """Yield notes on images without a label map, and on maps without an image or in JPEG."""
    used = {path for pair in pairs for path in (pair.image, pair.label_map)}
    bare = [path for path in images_below(root) if path not in used and not _is_map(path, root)]
    if bare:
        yield f'images without a label map are left out ({len(bare)}), such as {str(bare[0])!r}'
    stems = {pair.image.stem for pair in pairs}
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
    return [path for path in files_below(root, '.jpg', '.jpeg') if _is_map(path, root)]


def _is_map(path: Path, root: Path) -> bool:
    """Return whether a file is a label map by its folder or name."""
    return _in_mask_folder(path, root) or _has_image(path)


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


def _names(root: Path) -> list[str]:
    """Return class names from a text file: one per line, before a colon if colors follow."""
    for path in files_below(root, '.txt'):
        if path.name in NAME_FILES:
            lines = (line.strip() for line in read_text(path).splitlines())
            return [line.split(':')[0].strip() for line in lines if line and line[0] != '#']
    return []


def _data(
    root: Path, splits: dict[str, list[MaskPair]], codes: list[int], names: list[str]
) -> LabelMapData:
    if _is_binary(codes, len(names)):
        numbers = {} if codes[1] == 1 else {0: 0, codes[1]: 1}
        note = [f'values 0 and {codes[1]} become class 0 and class 1'] if numbers else []
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


def _is_binary(codes: list[int], names: int) -> bool:
    """Return whether the two values are 0 and any other gray, and not numbers of named classes."""
    if len(codes) != 2 or codes[0] != 0 or codes[1] > IGNORED:
        return False
    return names != 3 if codes[1] in (1, IGNORED) else names <= codes[1]


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
