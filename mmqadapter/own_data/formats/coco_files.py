"""Finding of COCO files in a folder, and check of the form of their lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmqadapter.data_checks.coco_index import REQUIRED, entry_fault, entry_id
from mmqadapter.own_data.formats.files import has_keys, is_json_with, read_json
from mmqadapter.own_data.images import SUFFIXES, files_below

KEYS = tuple(REQUIRED)  # images, annotations, categories
# The conversion adds ids and areas of annotations.
NEEDED = {
    **REQUIRED,
    'annotations': {
        key: REQUIRED['annotations'][key] for key in ('image_id', 'category_id', 'bbox')
    },
}


def has_lists(root: Path) -> bool:
    """Return whether a JSON below ``root`` has the three lists of COCO.

    Raises:
        ValueError: None has, and one that may be a COCO file is damaged.
    """
    paths = files_below(root, '.json')
    if any(is_json_with(path, KEYS) for path in paths):
        return True
    refuse_damaged([path for path in paths if _is_expected(path, root)])
    return False


def refuse_damaged(paths: Iterable[Path]) -> None:
    """Check that each JSON can be read, and that none has only some of the lists of COCO.

    Raises:
        ValueError: One cannot be read, or has only some of the lists.
    """
    for path in paths:
        _lists(path)


def lists_below(root: Path) -> dict[Path, dict[str, list[dict]]]:
    """Return the lists of each COCO file below ``root``; other kinds of JSON are left out.

    Raises:
        ValueError: A JSON is damaged, or lacks one of the lists, or an entry of them is invalid.
    """
    loaded = {path: _lists(path) for path in files_below(root, '.json')}
    contents = {path: content for path, content in loaded.items() if content}
    for path, content in contents.items():
        _check_entries(path, content)
    return contents


def _is_expected(path: Path, root: Path) -> bool:
    """Return whether a JSON lies where COCO files do: on top, in annotations, beside images."""
    if path.parent == root or 'annotation' in path.parent.name.lower():
        return True
    return any(file.suffix.lower() in SUFFIXES for file in path.parent.iterdir())


def _lists(path: Path) -> dict[str, list[dict]]:
    """Return the three lists of a COCO file; an empty dict for another kind of JSON."""
    content = read_json(path)
    present = [key for key in KEYS if has_keys(content, [key])]
    if not present or _is_other_kind(path, content, present):
        return {}
    faults = [f'lacks the list {key!r}' for key in KEYS if key not in present] + [
        f'has {key}={content[key]!r:.40}, not a list'
        for key in present
        if not isinstance(content[key], list)
    ]
    if faults:
        raise ValueError(
            f'{str(path)!r} {", ".join(faults)}: expected the lists {", ".join(KEYS)} of a COCO '
            'file; restore them, or move the file out of the folder.'
        )
    return {key: content[key] for key in KEYS}


def _is_other_kind(path: Path, content: dict[str, Any], present: list[str]) -> bool:
    """Return whether a JSON with some of the lists is complete as it is.

    Such are labelme files, class names alone (an export of Label Studio), and what COCO has beside
    its instances: captions and lists of test images (``image_info_test2017.json``).
    """
    if present == ['categories'] or has_keys(content, ['shapes']):
        return True
    if present == ['images', 'annotations'] and isinstance(content['annotations'], list):
        return any(has_keys(entry, ['caption']) for entry in content['annotations'][:1])
    return present == ['images', 'categories'] and path.name.startswith('image_info')


def _check_entries(path: Path, content: dict[str, list[dict]]) -> None:
    faults = list(_entry_faults(content))
    if faults:
        more = f' ({len(faults)} such entries)' if len(faults) > 1 else ''
        raise ValueError(f'{str(path)!r}: {faults[0]}{more}; correct or remove it.')


def _entry_faults(content: dict[str, list[dict]]) -> Iterator[str]:
    for name, keys in NEEDED.items():
        for number, entry in enumerate(content[name]):
            fault = entry_fault(entry, keys)
            if not fault and name == 'annotations':
                fault = _box_fault(entry['bbox'])
            if fault:
                yield f'{name}[{number}]{entry_id(entry)} {fault}'


def _box_fault(box: list[Any]) -> str:
    """Return why a box is not four numbers; numbers that are not finite are left to the check."""
    if len(box) == 4 and all(isinstance(value, (int, float)) for value in box):
        return ''
    return f'has bbox={box!r:.60}: expected four numbers x, y, width, height'
