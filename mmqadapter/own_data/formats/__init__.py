"""Readers of annotation formats, and the choice between them.

docs/dependencies.md says why the readers are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmqadapter.own_data.formats import (
    class_folders,
    coco,
    cvat,
    label_maps,
    labelme,
    pascal_voc,
    supervisely,
    yolo,
)
from mmqadapter.own_data.formats.coco_files import refuse_damaged
from mmqadapter.own_data.images import files_below
from mmqadapter.own_data.samples import FoundData


@dataclass(frozen=True)
class Format:
    """Reader of a format.

    Attributes:
        name: Name of the format, as printed.
        matches: Whether a folder holds data of this format.
        read: Read the data of a folder.
    """

    name: str
    matches: Callable[[Path], bool]
    read: Callable[[Path], FoundData]


FORMATS = {
    'coco': Format(coco.NAME, coco.matches, coco.read),
    'yolo': Format(yolo.NAME, yolo.matches, yolo.read),
    'voc': Format(pascal_voc.NAME, pascal_voc.matches, pascal_voc.read),
    'labelme': Format(labelme.NAME, labelme.matches, labelme.read),
    'cvat': Format(cvat.NAME, cvat.matches, cvat.read),
    'supervisely': Format(supervisely.NAME, supervisely.matches, supervisely.read),
    'label-maps': Format(label_maps.NAME, label_maps.matches, label_maps.read),
    'class-folders': Format(class_folders.NAME, class_folders.matches, class_folders.read),
}


def read_folder(root: Path, name: str | None = None) -> FoundData:
    """Read the annotated images below a folder.

    Args:
        root: The folder.
        name: Key of ``FORMATS``; by default, the one format that is found.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: No format or several formats are found, or the data are invalid.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{str(root)!r} is not a folder; check the path.')
    found = [
        key for key, reader in FORMATS.items() if (name or key) == key and reader.matches(root)
    ]
    if len(found) > 1:  # annotations say more than the folders that images are in
        found = [key for key in found if key != 'class-folders']
    if not found:
        if name in (None, 'coco'):
            refuse_damaged(files_below(root, '.json'))
        raise ValueError(_nothing_found(root, name))
    if len(found) > 1:
        raise ValueError(
            f'{str(root)!r} has annotations of several formats: {", ".join(found)}. Choose one '
            'with --format.'
        )
    try:
        return FORMATS[found[0]].read(root)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'the annotations below {str(root)!r} are not of the usual form of '
            f'{FORMATS[found[0]].name} ({type(error).__name__}: {error}).'
        ) from error


def _nothing_found(root: Path, name: str | None) -> str:
    pictures = label_maps.jpeg_maps(root) if name in (None, 'label-maps') else []
    if pictures:
        return (
            f'{str(root)!r} has label maps in JPEG, such as {str(pictures[0])!r}: expected PNG, '
            'since JPEG changes class numbers; export the masks as PNG.'
        )
    folder = class_folders.only_folder(root) if name in (None, 'class-folders') else None
    if folder is not None:
        return (
            f'{str(root)!r} has images without annotations, in one folder, {folder!r}: expected '
            'annotations, or two class folders or more, as in CLASS/NAME.jpg.'
        )
    expected = FORMATS[name].name if name else ', '.join(reader.name for reader in FORMATS.values())
    return (
        f'{str(root)!r} has no images with annotations that are known: expected {expected}. '
        'The docs page "Own data" shows the folders.'
    )
