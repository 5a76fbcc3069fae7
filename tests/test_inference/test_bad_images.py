"""Images that cannot be predicted cost one line each; what the loader drops is logged."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_runs import Run, fresh_globals, semantic

from mmqadapter.compat.torch_names import OutOfMemoryError
from mmqadapter.inference import FailedImagesError, iter_predictions, load_model, predict
from mmqadapter.inference.image_errors import FailedImagesError as Failed
from mmqadapter.inference.image_errors import step_error
from mmqadapter.inference.image_pipeline import ImagePipeline, displayed
from mmqadapter.inference.images import find_images
from mmqadapter.inference.loading_losses import losses

__all__ = ['fresh_globals', 'semantic']


@pytest.fixture
def model(semantic: Run):
    return load_model(semantic.config, semantic.task, device='cpu')


@pytest.fixture
def folder(semantic: Run, tmp_path: Path) -> Path:
    """Two images, and files between them of all kinds that cannot be read as an image."""
    good = (semantic.images / '0.jpg').read_bytes()
    contents = {
        'a.jpg': good,
        'empty.jpg': b'',
        'half.jpg': good[: len(good) // 2],
        'text.png': b'no image',
        'zero.png': _png_of_size_zero(),
        'z ü 漢.jpg': good,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / 'folder.jpg').mkdir()
    (tmp_path / 'loop.jpg').symlink_to('loop.jpg')
    return tmp_path


def _png_of_size_zero() -> bytes:
    png = cv2.imencode('.png', np.zeros((1, 1), np.uint8))[1].tobytes()
    return png[:16] + bytes(8) + png[24:]


def test_each_bad_image_has_its_reason_and_the_others_are_done(model, folder: Path) -> None:
    if cv2.imread(str(folder / 'half.jpg')) is not None:
        pytest.skip('this OpenCV decodes half of a JPEG file; needs a newer one')
    done = []
    missing = folder / 'missing.jpg'
    with pytest.raises(FailedImagesError, match='7 of 9 images could not be predicted') as caught:
        for prediction in iter_predictions(model, None, [folder, missing], folder / 'out'):
            assert (folder / f'out/labels/{prediction.image.stem}.png').is_file()
            done.append(prediction.image.name)
    assert done == ['a.jpg', 'z ü 漢.jpg']
    reasons = {path.name: reason for path, reason in caught.value.failures.items()}
    unread = 'cannot be read as an image: expected an undamaged image file of 8-bit gray or RGB'
    assert reasons == {
        'empty.jpg': 'cannot be read as an image (the file is empty)',
        'folder.jpg': 'cannot be read (Is a directory)',
        'half.jpg': unread,
        'loop.jpg': 'cannot be read (Too many levels of symbolic links)',
        'missing.jpg': 'the file does not exist',
        'text.png': unread,
        'zero.png': unread,
    }


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read all files')
def test_a_file_without_permission_has_its_reason(model, folder: Path) -> None:
    (folder / 'a.jpg').chmod(0)
    with pytest.raises(FailedImagesError, match=r'a\.jpg: cannot be read \(Permission denied\)'):
        predict(model, None, folder / 'a.jpg')


def test_the_text_of_the_error_lists_ten_images() -> None:
    error = Failed({Path(f'{n}.jpg'): 'why' for n in range(12)}, total=20)
    lines = str(error).splitlines()
    assert lines[0] == '12 of 20 images could not be predicted:' and lines[1] == '0.jpg: why'
    assert len(lines) == 12 and lines[-1] == '... and 2 more'
    assert len(error.failures) == 12


def test_too_large_is_not_called_too_small() -> None:
    for error in (OutOfMemoryError('CUDA out of memory.'), MemoryError()):
        assert str(step_error(error)).startswith('is too large for the memory')
    assert 'too small' in str(step_error(RuntimeError('Output size is too small')))


def test_errors_that_are_not_the_images_stop_the_run(model, folder: Path, monkeypatch) -> None:
    def fail(*args, **kwargs):
        raise AttributeError('a bug')

    monkeypatch.setattr(model, 'test_step', fail)
    with pytest.raises(AttributeError, match='a bug'):
        predict(model, None, folder)


def test_a_missing_folder_or_glob_is_refused_before_the_run(folder: Path) -> None:
    for name in ('nowhere', '*.bmp'):
        with pytest.raises(FileNotFoundError, match='there is no image, folder or match'):
            find_images([folder, folder / name])


def test_images_are_loaded_by_the_loader_of_the_config(model, tmp_path: Path) -> None:
    Image.new('RGB', (3, 2), (10, 20, 30)).save(tmp_path / 'a.png')
    pixels = ImagePipeline(model.cfg)(tmp_path / 'a.png').pixels
    assert pixels.shape == (2, 3, 3) and tuple(pixels[0, 0]) == (10, 20, 30)
    leaf = model.cfg.test_dataloader.dataset
    leaf.pipeline[0] = dict(type='LoadImageFromFile', color_type='grayscale')
    gray = ImagePipeline(model.cfg)(tmp_path / 'a.png').pixels
    assert gray.shape == (2, 3, 3) and len(set(gray[0, 0].tolist())) == 1


def test_any_number_and_type_of_channels_can_be_drawn_on() -> None:
    colors = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    assert displayed(colors, bgr=True)[0, 1].tolist() == [6, 5, 4]
    assert displayed(colors[..., :2], bgr=False)[0, 1].tolist() == [4, 4, 4]
    assert displayed(colors[..., 0], bgr=True)[0, 2].tolist() == [8, 8, 8]
    assert displayed(np.float32([[0, 0.5, 1]]), bgr=False)[0, :, 0].tolist() == [0, 127, 255]
    assert displayed(np.float32([[0, 9, 200]]), bgr=False)[0, :, 0].tolist() == [0, 9, 200]
    sixteen = displayed(np.uint16([[0, 65535, 0]]), bgr=False)
    assert sixteen.dtype == np.uint8 and sixteen[0, :, 0].tolist() == [0, 255, 0]
    assert not displayed(np.full((2, 2), np.nan, np.float32), bgr=False).any()


@pytest.mark.parametrize(
    ('name', 'shape', 'dtype', 'expected'),
    [
        ('gray.png', (4, 5), np.uint16, ['has 16 bits']),
        ('color.png', (4, 5, 3), np.uint16, ['has 16 bits']),
        ('color.tif', (4, 5, 3), np.uint16, ['has 16 bits']),
        ('float.tif', (4, 5, 3), np.float32, ['has 32 bits']),
        ('four.tif', (4, 5, 4), np.uint8, ['has 4 bands']),
        ('both.tif', (4, 5, 4), np.uint16, ['has 16 bits', 'has 4 bands']),
        ('plain.png', (4, 5, 3), np.uint8, []),
    ],
)
def test_what_the_loader_drops_is_found(tmp_path: Path, name, shape, dtype, expected) -> None:
    path = tmp_path / name
    assert cv2.imwrite(str(path), np.zeros(shape, dtype))
    loaded = cv2.imread(str(path), cv2.IMREAD_COLOR)
    found = losses(path, loaded)
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected
    assert losses(path, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) == []


def test_cmyk_and_palettes_are_converted_not_cut(tmp_path: Path) -> None:
    for mode, name in (('CMYK', 'a.jpg'), ('P', 'a.png'), ('1', 'b.png')):
        Image.new(mode, (5, 4)).save(tmp_path / name)
        assert losses(tmp_path / name, np.zeros((4, 5, 3), np.uint8)) == []
