"""Folders of images, one for each class, as ImageNet has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmqadapter.own_data.formats.label_maps import MASK_WORDS
from mmqadapter.own_data.images import SPLIT_WORDS, image_size, images_below
from mmqadapter.own_data.samples import ImageClassData, LabeledImage

NAME = 'class folders'
# Names of folders that hold images of all classes, or annotations.
OTHERS = {'images', 'image', 'imgs', 'img', 'jpegimages', 'photos', *MASK_WORDS}


def matches(root: Path) -> bool:
    """Return whether images lie in two class folders or more below ``root``."""
    names = {label for _, _, label in _labeled(root)}
    return len(names) > 1 and not any(name.lower() in OTHERS for name in names)


def only_folder(root: Path) -> str | None:
    """Return the name of the one folder that holds all images, if it may be that of a class."""
    folders = {image.parent for image in images_below(root)} - {root}
    name = folders.pop().name if len(folders) == 1 else ''
    return None if name.lower() in {'', *OTHERS, *SPLIT_WORDS} else name


def read(root: Path) -> ImageClassData:
    """Read the images of all class folders: ``CLASS/NAME.jpg`` or ``train/CLASS/NAME.jpg``.

    Raises:
        ValueError: An image cannot be read, a class folder is empty, or there are fewer than two.
    """
    splits: dict[str, list[LabeledImage]] = {}
    for image, split, label in _labeled(root):
        splits.setdefault(split, []).append(LabeledImage(image, label, image_size(image)))
    classes = tuple(sorted({item.label for items in splits.values() for item in items}))
    if len(classes) < 2:
        raise ValueError(
            f'{str(root)!r} has {len(classes)} class folders: expected two or more, as in '
            'CLASS/NAME.jpg or train/CLASS/NAME.jpg.'
        )
    if empty := _empty_folders(splits):
        raise ValueError(
            f'the class folder {str(empty[0])!r} has no images: add some, or remove the folder.'
        )
    notes = list(_left_out(root, sum(map(len, splits.values()))))
    return ImageClassData(NAME, root, classes, splits, notes)


def _labeled(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield each image in a class folder, its split and its class."""
    images = images_below(root)
    top = _common_folder(root, images)
    for image in images:
        *folders, _ = image.relative_to(top).parts
        split = SPLIT_WORDS.get(folders[0].lower(), 'all') if folders else 'all'
        names = folders if split == 'all' else folders[1:]
        if names:
            yield image, split, names[0]


def _common_folder(root: Path, images: list[Path]) -> Path:
    """Return the folder below ``root`` in which the images branch, such as ``root/images``."""
    folders = {image.relative_to(root).parts[0] for image in images}
    if len(folders) != 1 or images[0].parent == root or folders & SPLIT_WORDS.keys():
        return root
    return _common_folder(root / folders.pop(), images)


def _empty_folders(splits: Mapping[str, Sequence[LabeledImage]]) -> list[Path]:
    """Return the folders beside class folders in which there are no images."""
    places = {
        parent.parent
        for items in splits.values()
        for item in items
        for parent in item.image.parents
        if parent.name == item.label
    }
    folders = (path for place in sorted(places) for path in sorted(place.iterdir()))
    return [f for f in folders if f.is_dir() and f.name[0] != '.' and not images_below(f)]


def _left_out(root: Path, used: int) -> Iterator[str]:
    rest = len(images_below(root)) - used
    if rest:
        yield f'{rest} images are in no class folder and are left out'
