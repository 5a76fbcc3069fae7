"""Uploads are checked by their size and header, and refused with a reason."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from mmqadapter.inference.image_errors import ImageError
from mmqadapter.serve.uploads import UploadLimits

ONE = UploadLimits(megabytes=1, megapixels=1)


def encoded(kind: str, size: tuple[int, int] = (8, 6)) -> bytes:
    file = io.BytesIO()
    Image.new('RGB', size).save(file, kind)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG file that says it is this large."""
    head = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack('>I', 13) + head + struct.pack('>I', zlib.crc32(head))
    return b'\x89PNG\r\n\x1a\n' + chunk + struct.pack('>I', 10) + b'IDAT'


@pytest.fixture
def file(tmp_path: Path):
    def write(content: bytes) -> Path:
        path = tmp_path / 'upload.png'
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize('kind', ['BMP', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP'])
def test_images_within_the_limits_pass_whatever_they_are_called(kind: str, file) -> None:
    ONE.check(file(encoded(kind)))
    ONE.check(file(encoded(kind, (1000, 1000))[: 1 << 20]))


@pytest.mark.parametrize(
    'content',
    [b'text', encoded('PNG')[:20], encoded('JPEG')[:10], b'<svg></svg>', b'%PDF-1.4', b'\0' * 100],
)
def test_what_is_not_an_image_is_refused(content: bytes, file) -> None:
    with pytest.raises(ImageError, match='^is not an image: expected .* PNG, PPM, TIFF or WEBP'):
        ONE.check(file(content))


def test_kinds_that_opencv_does_not_read_are_refused(file) -> None:
    with pytest.raises(ImageError, match='^is not an image'):
        ONE.check(file(encoded('ICO')))


def test_an_empty_and_a_missing_file_are_named_as_such(file, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match='the file is empty'):
        ONE.check(file(b''))
    with pytest.raises(ImageError, match='the file does not exist'):
        ONE.check(tmp_path / 'none.png')


def test_a_large_area_is_refused_from_the_header(file) -> None:
    ONE.check(file(png_header(1000, 1000)))
    with pytest.raises(ImageError, match='^has 1001 x 1000 pixels: expected at most 1 megapixels'):
        ONE.check(file(png_header(1001, 1000)))
    with pytest.raises(ImageError, match='--max-megapixels'):
        ONE.check(file(png_header(12_000, 12_000)))
    with pytest.raises(ImageError, match='^has too many pixels'):
        UploadLimits(megapixels=1e9).check(file(png_header(2**30, 2**30)))


def test_a_large_file_is_refused(file) -> None:
    content = encoded('PNG')
    ONE.check(file(content + bytes(2**20 - len(content))))
    with pytest.raises(ImageError, match=r'^has 1\.5 MB: expected at most 1 MB .*--max-megabytes'):
        ONE.check(file(content + bytes(3 * 2**19)))


@pytest.mark.parametrize('value', [0, -1, float('nan'), float('inf')])
@pytest.mark.parametrize('name', ['megabytes', 'megapixels'])
def test_invalid_limits_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f'max_{name}={value} is invalid: expected a number above'):
        UploadLimits(**{name: value})
