"""Label maps that teach nothing or something wrong are refused before anything is written."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import annotation_writers as writers
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmqadapter.data_checks import check_dataset
from mmqadapter.own_data import Choices, new_config
from mmqadapter.own_data.formats import read_folder

CHOICES = Choices(iterations=20, batch=2)


def as_jpeg(picture: Image.Image, quality: int = 75) -> Image.Image:
    """Return a picture as JPEG stores it."""
    buffer = io.BytesIO()
    picture.save(buffer, 'JPEG', quality=quality)
    return Image.open(buffer).copy()


def enlarged(picture: Image.Image) -> Image.Image:
    """Return a picture of the same size that was small and enlarged with interpolation."""
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.NEAREST)
    return small.resize(picture.size, Image.Resampling.BILINEAR)


def edit_maps(root: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    for file in sorted((root / 'annotations').iterdir()):
        change(Image.open(file)).save(file)


def refused(root: Path) -> str:
    """Return the error, after a check that nothing was written."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        new_config(root, root.parent / 'task.py', CHOICES)
    assert list(root.parent.iterdir()) == [root]
    return str(caught.value)


@pytest.mark.parametrize('mode', ['L', 'RGB'])
@pytest.mark.parametrize(
    'change', [as_jpeg, enlarged, lambda picture: as_jpeg(picture, 98)], ids=['75', '2x', '98']
)
def test_smoothed_edges_are_refused(tmp_path: Path, mode: str, change: Callable) -> None:
    root = tmp_path / 'data'
    writers.label_maps(root, (0, 255, 255))
    edit_maps(root, lambda picture: change(picture.convert(mode)))
    message = refused(root)
    assert 'only on edges: these were smoothed, by JPEG or by resizing with interpol' in message
    assert 'resize with nearest-neighbor' in message


def test_many_classes_with_areas_are_classes(tmp_path: Path) -> None:
    writers.label_maps(tmp_path)
    blocks = np.kron(np.arange(192).reshape(12, 16), np.ones((4, 4), int)).astype(np.uint8)
    edit_maps(tmp_path, lambda picture: Image.fromarray(blocks))
    assert len(read_folder(tmp_path).classes) == 192


def test_a_thin_class_is_a_class(tmp_path: Path) -> None:
    writers.label_maps(tmp_path, (0, 100, 200))
    for file in (tmp_path / 'annotations').iterdir():
        pixels = np.array(Image.open(file))
        pixels[:, 0] = 100
        pixels[pixels == 100] = 0
        pixels[:, 1] = 100
        Image.fromarray(pixels).save(file)
    assert len(read_folder(tmp_path).classes) == 201


@pytest.mark.parametrize('value', [1, 2, 128, 254, 255])
def test_0_and_another_gray_are_two_classes(tmp_path: Path, value: int) -> None:
    root = tmp_path / 'data'
    writers.label_maps(root, (0, value, value))
    new_config(root, tmp_path / 'task.py', CHOICES)
    cfg = Config.fromfile(tmp_path / 'task.py')
    assert cfg.classes == ('background', 'object')
    assert check_dataset(cfg) == []


def test_numbers_of_named_classes_stay_numbers(tmp_path: Path) -> None:
    writers.label_maps(tmp_path, (0, 2, 2))
    (tmp_path / 'classes.txt').write_text('back\nleaf\nspot\n')
    data = read_folder(tmp_path)
    assert (data.classes, data.numbers) == (('back', 'leaf', 'spot'), {})


@pytest.mark.parametrize(
    ('values', 'text'),
    [((0, 0, 0), '0'), ((7, 7, 7), '7'), ((255,) * 3, '255 (ignored)'),
     ((1, 255, 255), '1 and 255 (ignored)')],
)  # fmt: skip
def test_one_value_is_refused(tmp_path: Path, values: tuple[int, int, int], text: str) -> None:
    writers.label_maps(tmp_path / 'data', values)
    message = refused(tmp_path / 'data')
    assert f'have no value but {text}: expected a value for each of two classes or mo' in message
    assert 'check the export of the masks' in message


@pytest.mark.parametrize('values', [(0, 1, 2), (0, 255, 255)])
def test_a_label_map_of_another_size_is_refused(
    tmp_path: Path, values: tuple[int, int, int]
) -> None:
    root = tmp_path / 'data'
    writers.label_maps(root, values)
    file = root / 'annotations' / 'b.png'
    Image.open(file).crop((0, 0, 64, 20)).save(file)
    assert refused(root) == (
        "'annotations/b.png' is 64 x 20 pixels, its image 'images/b.png' 64 x 48; export the masks "
        'at the size of their images.'
    )


def test_an_image_without_a_label_map_is_named(tmp_path: Path) -> None:
    root = tmp_path / 'data'
    writers.label_maps(root, (0, 255, 255))
    writers.draw(root / 'images' / 'c.png', 'a')
    notes = new_config(root, tmp_path / 'task.py', CHOICES).notes
    image = str(root / 'images' / 'c.png')
    assert notes[1] == f'images without a label map are left out (1), such as {image!r}'
    (problem,) = check_dataset(Config.fromfile(tmp_path / 'task.py'))
    assert (problem.severity, problem.kind, problem.where) == ('warning', 'unused image', image)
    assert problem.message == 'has no label map, so it is not used'
