"""Files that the training and validation part of a new config read, converted where necessary."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmqadapter.own_data.converted import (
    write_class_list,
    write_coco,
    write_label_map,
    write_names,
)
from mmqadapter.own_data.samples import (
    ImageClassData,
    InstanceData,
    LabelMapData,
    MaskPair,
    Sample,
)
from mmqadapter.own_data.split import train_and_val


@dataclass(frozen=True)
class Part:
    """Paths of one part of a config; relative ones are below the data root.

    Attributes:
        images: Folder of the images.
        annotations: COCO JSON (objects).
        label_maps: Folder of the label maps.
        names: List of sample names (label maps; empty for all files of the folder), or of images
            and their class numbers.
        image_suffix: Ending of the images, as in ``img_suffix``.
        map_suffix: Ending of the label maps, as in ``seg_map_suffix``.
        evaluated: Absolute path of the COCO JSON, for the metric.
    """

    images: str
    annotations: str = ''
    label_maps: str = ''
    names: str = ''
    image_suffix: str = ''
    map_suffix: str = ''
    evaluated: str = ''


@dataclass(frozen=True)
class Parts:
    """Both parts, the sizes of the training images, and what was decided."""

    train: Part
    val: Part
    sizes: list[tuple[int, int]]
    val_count: int
    split: str


def instance_parts(data: InstanceData, folder: Path, seed: int) -> Parts:
    """Return the parts of boxes or instances; COCO files with a split are used as they are.

    Args:
        data: What was found.
        folder: Folder for converted files.
        seed: Seed of the split, if the data have none.
    """
    train, val, sentence = train_and_val(data.splits, seed, data.split_by)
    if data.is_readable:
        train_part, val_part = _coco_part(data, 'train'), _coco_part(data, 'val')
    else:
        train_part = _converted_part(data, train, folder / 'instances_train.json')
        val_part = _converted_part(data, val, folder / 'instances_val.json')
    return Parts(train_part, val_part, [sample.size for sample in train], len(val), sentence)


def label_map_parts(
    data: LabelMapData, folder: Path, seed: int, progress: Callable[[Sequence], Sequence] = list
) -> Parts:
    """Return the parts of label maps; files that training can read are used as they are.

    Args:
        data: What was found.
        folder: Folder for converted files.
        seed: Seed of the split, if the data have none.
        progress: Wraps the pairs that are converted, to show progress.
    """
    train, val, sentence = train_and_val(data.splits, seed)
    if not data.numbers and _in_place(train) and _in_place(val):
        train_part = _stored_part(data, train, folder / 'train.txt')
        val_part = _stored_part(data, val, folder / 'val.txt')
    else:
        train_part = _converted_maps(data, train, folder, 'train', progress)
        val_part = _converted_maps(data, val, folder, 'val', progress)
    return Parts(train_part, val_part, [pair.size for pair in train], len(val), sentence)


def class_parts(data: ImageClassData, folder: Path, seed: int) -> Parts:
    """Return the parts of images with one class each: lists in ``folder``.

    Lists number the classes alike, also where a part lacks a class.

    Args:
        data: What was found.
        folder: Folder for the lists.
        seed: Seed of the split, if the data have none.
    """
    train, val, sentence = train_and_val(data.splits, seed)
    first, second = (
        Part('', names=write_class_list(file, images, data.classes, data.root).as_posix())
        for file, images in ((folder / 'train.txt', train), (folder / 'val.txt', val))
    )
    return Parts(first, second, [image.size for image in train], len(val), sentence)


def _coco_part(data: InstanceData, name: str) -> Part:
    file = data.coco[name]
    return Part(
        _below(file.images, data.root) or './',
        _below(file.annotations, data.root),
        evaluated=file.annotations.as_posix(),
    )


def _converted_part(data: InstanceData, samples: list[Sample], path: Path) -> Part:
    written = write_coco(path, samples, data.classes, data.root).as_posix()
    return Part('./', written, evaluated=written)


def _in_place(pairs: list[MaskPair]) -> bool:
    """Return whether one pair of folders and endings describes all pairs."""
    return len({_layout(pair) for pair in pairs}) == 1


def _layout(pair: MaskPair) -> tuple[Path, Path, str, str]:
    """Return the folders of image and map, and their endings after the common name."""
    image, label_map = pair.image.name, pair.label_map.name
    name = os.path.commonprefix([pair.image.stem, pair.label_map.stem])
    return pair.image.parent, pair.label_map.parent, image[len(name) :], label_map[len(name) :]


def _stored_part(data: LabelMapData, pairs: list[MaskPair], path: Path) -> Part:
    images, label_maps, image_suffix, map_suffix = _layout(pairs[0])
    names = [pair.image.name.removesuffix(image_suffix) for pair in pairs]
    present = [file for file in images.iterdir() if file.name.endswith(image_suffix)]
    listed = write_names(path, names).as_posix() if len(present) != len(pairs) else ''
    return Part(
        _below(images, data.root) or './',
        label_maps=_below(label_maps, data.root) or './',
        names=listed,
        image_suffix=image_suffix,
        map_suffix=map_suffix,
    )


def _converted_maps(
    data: LabelMapData,
    pairs: list[MaskPair],
    folder: Path,
    name: str,
    progress: Callable[[Sequence], Sequence],
) -> Part:
    """Write the maps as ``label_maps/IMAGE PATH.png``, so that one ending fits all images."""
    numbers = data.numbers or {number: number for number in range(len(data.classes))}
    images = Path(os.path.commonpath([pair.image.parent for pair in pairs]))
    maps = folder / 'label_maps' / images.relative_to(data.root)
    names = [pair.image.relative_to(images).as_posix() for pair in pairs]
    for pair, image in progress(list(zip(pairs, names, strict=True))):
        write_label_map(maps / f'{image}.png', pair, numbers)
    listed = write_names(folder / f'{name}.txt', names)
    return Part(
        _below(images, data.root) or './',
        label_maps=maps.as_posix(),
        names=listed.as_posix(),
        map_suffix='.png',
    )


def _below(path: Path, root: Path) -> str:
    relative = path.relative_to(root).as_posix()
    return '' if relative == '.' else relative
