"""Images that training loads with a loss, or not at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from mmcv.transforms import TRANSFORMS, BaseTransform
from PIL import Image

from mmqadapter.data_checks.hints import missing_hint
from mmqadapter.data_checks.images import check_image
from mmqadapter.data_checks.loader import SampleLoader
from mmqadapter.data_checks.source import Source
from mmqadapter.data_checks.stored import read_header, read_stored

tifffile = pytest.importorskip('tifffile')
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
GRAY = PIXELS[..., 0]
FIVE = np.concatenate([PIXELS, PIXELS[..., :2]], axis=-1)


@TRANSFORMS.register_module()
class OwnTiffReader(BaseTransform):
    """A user's own loader of TIFF files, under a name of its own."""

    def transform(self, results: dict) -> dict:
        image = tifffile.imread(results['img_path'])
        return {**results, 'img': image[..., :3].astype(np.float32)}


def tiff(values: np.ndarray, **options: Any) -> Any:
    kind = 'rgb' if options.get('rgb') else 'minisblack'
    extra = {key: value for key, value in options.items() if key != 'rgb'}
    if values.ndim == 3 and values.shape[2] in (4, 5):  # bands of one image, not a stack of images
        extra.setdefault('planarconfig', 'contig')
    return lambda path: tifffile.imwrite(path, values, photometric=kind, **extra)


def pillow(image: Image.Image, **options: Any) -> Any:
    return lambda path: image.save(path, **options)


def opencv(values: np.ndarray) -> Any:
    return lambda path: cv2.imwrite(str(path), values)


def with_alpha(alpha: np.ndarray | int) -> Image.Image:
    image = Image.fromarray(PIXELS)
    image.putalpha(Image.fromarray(alpha) if isinstance(alpha, np.ndarray) else alpha)
    return image


def check(path: Path, channels: int | None = None, **loader: Any) -> list[tuple[str, str, str]]:
    step = dict(type='LoadImageFromFile') | loader
    dataset = SimpleNamespace(data_root=str(path.parent), backend_args=None)
    source = Source('train', dataset, False, SampleLoader([step], 'mmengine'), channels)
    sample = dict(img_path=str(path))
    problems = check_image(sample, source).problems
    try:
        loads = source.loader.image(dict(sample)) is not None
    except ValueError:
        loads = False
    assert loads == ('unreadable file' not in {problem.kind for problem in problems})
    return [(problem.severity, problem.kind, problem.message) for problem in problems]


@pytest.mark.parametrize(
    ('name', 'save'),
    [
        ('rgb.jpg', pillow(Image.fromarray(PIXELS))),
        ('gray.png', pillow(Image.fromarray(GRAY))),
        ('one_bit.png', pillow(Image.fromarray(PIXELS).convert('1'))),
        ('palette.png', pillow(Image.fromarray(PIXELS).convert('P'))),
        ('cmyk.tif', pillow(Image.fromarray(PIXELS).convert('CMYK'))),
        ('cmyk.jpg', pillow(Image.fromarray(PIXELS).convert('CMYK'))),
        ('lzw.tif', pillow(Image.fromarray(PIXELS), compression='tiff_lzw')),
        ('planar.tif', tiff(PIXELS.transpose(2, 0, 1).copy(), rgb=True, planarconfig='separate')),
        ('opaque.png', pillow(with_alpha(255))),
        ('picture.ppm', pillow(Image.fromarray(PIXELS))),
        ('Ünï code.PNG', pillow(Image.fromarray(PIXELS))),
    ],
)
def test_what_loads_without_a_loss_has_no_problem(tmp_path: Path, name: str, save: Any) -> None:
    save(tmp_path / name)
    assert check(tmp_path / name, channels=3) == []


@pytest.mark.parametrize(
    ('name', 'save', 'expected', 'message'),
    [
        (
            '12bit.png',
            opencv(GRAY.astype(np.uint16) * 16),
            'warning values cut',
            r'one band of uint16, \d+ to 40\d\d; training sees uint8, 0 to 15 \(value // 256\)',
        ),
        (
            'color16.tif',
            tiff(PIXELS.astype(np.uint16) * 16, rgb=True),
            'warning values cut',
            r'3 bands of uint16.*training sees uint8, 0 to 1\d ',
        ),
        (
            'dark16.tif',
            tiff(GRAY.astype(np.uint16)),
            'error constant image',
            r'uint16, \d+ to 25\d; training sees only the value 0',
        ),
        (
            'signed.tif',
            tiff(GRAY.astype(np.int16)),
            'error constant image',
            'int16.*only the value 0',
        ),
        (
            'float.tif',
            tiff((GRAY / 255).astype(np.float32)),
            'error unreadable file',
            r'LoadImageFromFile, cv2, color: it stores one band of float32, 0 to',
        ),
        ('int32.tif', tiff(GRAY.astype(np.int32)), 'error unreadable file', 'one band of int32'),
        ('five.tif', tiff(FIVE), 'error unreadable file', r'5 bands of uint8, 0 to 255; save it'),
        (
            'infrared.tif',
            tiff(FIVE[..., :4], rgb=True, extrasamples=['unspecified']),
            'warning band dropped',
            r'4 bands of uint8.*training sees 3 channel\(s\), the rest is dropped',
        ),
        (
            'cut_out.png',
            pillow(with_alpha(GRAY)),
            'warning band dropped',
            'the alpha channel is dropped',
        ),
        (
            'stack.tif',
            tiff(np.stack([GRAY] * 3)),
            'warning page dropped',
            'holds 3 images; training sees the first',
        ),
        ('text.jpg', lambda path: path.write_text('<html>'), 'error unreadable file', 'damaged'),
        ('empty.jpg', lambda path: path.touch(), 'error unreadable file', r'error|damaged'),
    ],
)
def test_what_is_cut_dropped_or_not_loaded_is_named(
    tmp_path: Path, name: str, save: Any, expected: str, message: str
) -> None:
    save(tmp_path / name)
    [(severity, kind, text)] = check(tmp_path / name)
    assert f'{severity} {kind}' == expected
    with pytest.raises(ValueError, match=message):
        raise ValueError(text)


def test_a_loader_that_keeps_the_values_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / 'five.tif'
    tiff(FIVE.astype(np.uint16) * 16)(path)
    assert check(path, channels=5, imdecode_backend='tifffile', to_float32=True) == []
    [(severity, kind, text)] = check(path, channels=3, imdecode_backend='tifffile')
    assert (severity, kind) == ('error', 'channels') and '(16, 20, 5)' in text
    # The user's own loader drops two bands, whatever it is called.
    assert [kind for _, kind, _ in check(path, type='OwnTiffReader')] == ['band dropped']


def test_values_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    values = (PIXELS / 255).astype(np.float32)
    values[0, 0] = np.nan
    tiff(values, rgb=True)(tmp_path / 'x.tif')
    kinds = [kind for _, kind, _ in check(tmp_path / 'x.tif', color_type='unchanged')]
    assert 'not finite' in kinds


@pytest.mark.parametrize(
    ('size', 'orientation', 'kinds'),
    [((8, 8), 1, []), ((8, 8), 6, ['EXIF orientation']), ((8, 6), 3, ['EXIF orientation'])],
)
def test_a_rotation_that_no_size_shows_is_a_warning(
    tmp_path: Path, size: tuple, orientation: int, kinds: list
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', size).save(tmp_path / 'a.jpg', exif=exif)
    assert [kind for _, kind, _ in check(tmp_path / 'a.jpg')] == kinds


def test_previews_of_a_tiff_are_no_pages(tmp_path: Path) -> None:
    path = tmp_path / 'pyramid.tif'
    with tifffile.TiffWriter(path) as writer:
        for image in (PIXELS, PIXELS[::2, ::2]):
            writer.write(image, photometric='rgb')
    content = path.read_bytes()
    assert read_stored(content, read_header(content)) is None


@pytest.mark.parametrize(
    ('path', 'said'),
    [('data/train/https://example.com/a.jpg', 'not a URL'), ('s3://bucket/train/a.jpg', '')],
)
def test_a_url_as_file_name_is_told_from_a_remote_folder(path: str, said: str) -> None:
    hint = missing_hint(path)
    assert (said in hint) if said else not hint
