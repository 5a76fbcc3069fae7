"""Reading and writing of the two files of a released task: .bin and .yaml. Untrusted."""

from __future__ import annotations

import os
from pathlib import Path

from mmqadapter.interop.petl_vit.layout import PetlContent, file_bytes, from_bytes, to_bytes
from mmqadapter.interop.petl_vit.plausibility import find_problem
from mmqadapter.interop.petl_vit.settings import PetlSettings, read_settings
from mmqadapter.interop.untrusted_file import require_file
from mmqadapter.utils.atomic import atomic_write


def read_petl(binary: str | os.PathLike, settings: str | os.PathLike) -> PetlContent:
    """Read and check a released task; no more bytes are read than the .yaml file asks for.

    Args:
        binary: The .bin file.
        settings: The .yaml file.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: Settings are unknown, or the .bin file has another size or numbers that no
            training can have written.
    """
    known = read_settings(settings)
    content = from_bytes(known, _read(binary, known, settings))
    if problem := find_problem(content):
        raise ValueError(
            f'{str(binary)!r} is invalid: {problem}; the file is damaged or belongs to another '
            f'.yaml file than {str(settings)!r}: download both again.'
        )
    return content


def write_petl(
    content: PetlContent, binary: str | os.PathLike, settings: str | os.PathLike
) -> None:
    """Write the two files of a task, each atomically.

    Raises:
        OSError: A file cannot be written.
    """
    atomic_write(binary, to_bytes(content))
    atomic_write(settings, content.settings.text().encode())


def _read(binary: str | os.PathLike, settings: PetlSettings, source: str | os.PathLike) -> bytes:
    require_file(binary, 'check the path')
    expected, size = file_bytes(settings), Path(binary).stat().st_size
    with open(binary, 'rb') as file:
        data = file.read(expected + 1) if size == expected else b''
    if len(data) != expected:
        raise ValueError(
            f'{str(binary)!r} has {size:,} bytes, but {str(source)!r} ({settings.method}, '
            f'{settings.bit} bit, dim {settings.dim}, {settings.num_class} classes) describes '
            f'{expected:,}; give the .yaml file of this .bin file, or download both again.'
        )
    return data
