"""Class folders are found in their usual layouts, and nothing else is taken for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from class_images import COLORS, SIDE, write_classes, write_image
from PIL import Image

from mmqadapter.own_data.formats import read_folder
from mmqadapter.own_data.samples import ImageClassData, LabelMapData

CLASSES = tuple(COLORS)


def read(root: Path) -> ImageClassData:
    data = read_folder(root)
    assert isinstance(data, ImageClassData)
    return data


@pytest.mark.parametrize('top', ['', 'train'])
def test_an_empty_class_folder_is_refused(tmp_path: Path, top: str) -> None:
    write_classes(tmp_path / top, 2)
    (tmp_path / top / 'zebra').mkdir()
    with pytest.raises(ValueError, match="zebra' has no images: add some, or remove the folder"):
        read(tmp_path)


@pytest.mark.parametrize('top', ['', 'images', 'archive/images'])
def test_without_a_split(tmp_path: Path, top: str) -> None:
    write_classes(tmp_path / top, 2)
    data = read(tmp_path)
    assert (data.classes, list(data.splits), data.notes) == (CLASSES, ['all'], [])
    found = [(item.image.parent.name, item.label, item.size) for item in data.splits['all']]
    assert found == [(name, name, (SIDE, SIDE)) for name in CLASSES for _ in range(2)]


def test_folders_of_splits(tmp_path: Path) -> None:
    for split, count in (('train', 3), ('valid', 1), ('test', 2)):
        write_classes(tmp_path / split, count)
    data = read(tmp_path)
    assert data.classes == CLASSES
    assert {name: len(items) for name, items in data.splits.items()} == {
        'train': 9, 'val': 3, 'test': 6,
    }  # fmt: skip


def test_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    write_classes(tmp_path, 1)
    write_image(tmp_path / 'red' / 'camera 2' / 'x.png', (200, 0, 0), 1)
    assert [item.label for item in read(tmp_path).splits['all']].count('red') == 2


def test_images_without_a_class_are_noted(tmp_path: Path) -> None:
    write_classes(tmp_path, 1)
    write_image(tmp_path / 'loose.png', (0, 0, 0), 1)
    assert read(tmp_path).notes == ['1 images are in no class folder and are left out']


def test_label_maps_are_not_classes(tmp_path: Path) -> None:
    write_image(tmp_path / 'images' / 'a.png', (9, 9, 9), 1)
    (tmp_path / 'masks').mkdir()
    Image.fromarray(np.eye(SIDE, dtype=np.uint8)).save(tmp_path / 'masks' / 'a.png')
    assert isinstance(read_folder(tmp_path), LabelMapData)


@pytest.mark.parametrize('folders', [['images/train', 'images/val'], ['images'], ['train', 'val']])
def test_images_alone_are_not_classes(tmp_path: Path, folders: list[str]) -> None:
    for folder in folders:
        write_image(tmp_path / folder / 'a.png', (9, 9, 9), 1)
    with pytest.raises(
        ValueError, match='no images with annotations that are known.*class folders'
    ):
        read_folder(tmp_path)


def test_one_class_is_none(tmp_path: Path) -> None:
    write_classes(tmp_path, 2, red=(200, 0, 0))
    with pytest.raises(ValueError, match="without annotations, in one folder, 'red': expected"):
        read_folder(tmp_path)


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    write_classes(tmp_path, 1)
    (tmp_path / 'red' / 'broken.png').write_bytes(b'x')
    with pytest.raises(ValueError, match="red/broken.png' cannot be read as an image"):
        read_folder(tmp_path)
