"""The .bin file: raw bytes without a header; its yaml file says how to read them.

One matrix after the other, in the order of the blocks, in a block AdaptFormer's ``down, up`` or
LoRA's ``q.down, q.up, v.down, v.up``: n bits / 8 bytes of codes, first code in the lowest bits,
then mean and standard deviation as float32 (8 bytes). Behind them the classifier: float32 weight
and bias, or one more matrix of 1 bit. All numbers are little-endian.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmqadapter.interop.petl_vit.settings import PetlSettings, read_settings
from mmqadapter.quant import packed_bytes, unpack
from mmqadapter.utils.atomic import atomic_write

STATISTICS_BYTES = 8
HEAD_BITS = 1


@dataclass(frozen=True)
class PetlContent:
    """The two files of a released task.

    Attributes:
        settings: The yaml file.
        codes: uint8, packed codes of all adapter matrices.
        statistics: float32, mean and std of one matrix after the other.
        head: Classifier: float32 ``weight`` (classes, C) and ``bias`` (classes,); or, at 1 bit,
            uint8 ``codes`` and float32 ``statistics`` (2,).
    """

    settings: PetlSettings
    codes: Tensor
    statistics: Tensor
    head: dict[str, Tensor]


def matrix_count(settings: PetlSettings) -> int:
    """Number of adapter matrices."""
    return settings.net.blocks * (4 if settings.lora else 2)


def matrix_bytes(settings: PetlSettings) -> int:
    """Bytes of the codes of one adapter matrix."""
    return packed_bytes(settings.net.channels * settings.dim, settings.bit)


def head_bytes(settings: PetlSettings) -> int:
    """Bytes of the classifier."""
    weights = settings.net.channels * settings.num_class
    if settings.binary_head:
        return packed_bytes(weights, HEAD_BITS) + STATISTICS_BYTES
    return 4 * (weights + settings.num_class)


def adapter_bytes(settings: PetlSettings) -> int:
    """Bytes of all adapters."""
    return matrix_count(settings) * (matrix_bytes(settings) + STATISTICS_BYTES)


def file_bytes(settings: PetlSettings) -> int:
    """Bytes of the whole .bin file."""
    return adapter_bytes(settings) + head_bytes(settings)


def read_petl(binary: str | os.PathLike, settings: str | os.PathLike) -> PetlContent:
    """Read and check a released task; not a byte more is read than its yaml file asks for.

    Args:
        binary: The .bin file.
        settings: The .yaml file.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Settings that we do not know, a .bin file of another size, or numbers in it
            that no training can have left there.
    """
    known = read_settings(settings)
    content = from_bytes(known, _read(binary, known, settings))
    if problem := find_problem(content):
        raise ValueError(
            f'{str(binary)!r}: {problem}; the file is damaged or belongs to another .yaml file '
            f'than {str(settings)!r}: download both again.'
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


def from_bytes(settings: PetlSettings, data: bytes) -> PetlContent:
    """Take apart the ``file_bytes(settings)`` bytes of a .bin file."""
    raw = np.frombuffer(data, np.uint8)
    matrices = raw[: adapter_bytes(settings)].reshape(matrix_count(settings), -1)
    codes, statistics = matrices[:, :-STATISTICS_BYTES], matrices[:, -STATISTICS_BYTES:]
    head = _split_head(settings, raw[adapter_bytes(settings) :])
    return PetlContent(settings, _bytes(codes), _floats(statistics), head)


def to_bytes(content: PetlContent) -> bytes:
    """Put a .bin file together; inverse of :func:`from_bytes`."""
    count = matrix_count(content.settings)
    parts = [_raw(content.codes).reshape(count, -1), _raw(content.statistics).reshape(count, -1)]
    names = ('codes', 'statistics') if content.settings.binary_head else ('weight', 'bias')
    head = [_raw(content.head[name]).tobytes() for name in names]
    return b''.join([np.concatenate(parts, 1).tobytes(), *head])


def find_problem(content: PetlContent) -> str | None:
    """What no training leaves behind, in words; None where all is well."""
    settings, head = content.settings, content.head
    packed, statistics = [content.codes.view(matrix_count(settings), -1)], content.statistics
    if settings.binary_head:
        packed.append(head['codes'].view(1, -1))
        statistics = torch.cat([statistics, head['statistics']])
    numbers = [statistics, *(t for t in head.values() if t.dtype == torch.float32)]
    if not all(bool(t.isfinite().all()) for t in numbers):
        return 'it holds NaN or inf where finite numbers are expected'
    if not bool((statistics[1::2] > 0).all()):
        return 'a standard deviation is not above 0'
    if any(_constant(codes, settings.bit) for codes in packed[0]) or any(
        _constant(codes, HEAD_BITS) for matrix in packed[1:] for codes in matrix
    ):
        return 'all weights of a matrix are equal'
    return None


def _constant(packed: Tensor, bits: int) -> bool:
    codes = unpack(packed, bits, packed.numel() * 8 // bits)
    return bool((codes == codes[0]).all())


def _read(binary: str | os.PathLike, settings: PetlSettings, source: str | os.PathLike) -> bytes:
    if not Path(binary).is_file():
        raise FileNotFoundError(f'there is no file {str(binary)!r}; check the path.')
    expected, found = file_bytes(settings), Path(binary).stat().st_size
    with open(binary, 'rb') as file:
        data = file.read(expected + 1) if found == expected else b''
    if len(data) != expected:
        raise ValueError(
            f'{str(binary)!r} has {found:,} bytes, {str(source)!r} ({settings.method}, '
            f'{settings.bit} bit, dim {settings.dim}, {settings.num_class} classes) makes it '
            f'{expected:,}; give the .yaml file of this .bin file, or download both again.'
        )
    return data


def _split_head(settings: PetlSettings, raw: np.ndarray) -> dict[str, Tensor]:
    if settings.binary_head:
        codes, statistics = raw[:-STATISTICS_BYTES], raw[-STATISTICS_BYTES:]
        return {'codes': _bytes(codes), 'statistics': _floats(statistics)}
    numbers = _floats(raw)
    weight, bias = numbers[: -settings.num_class], numbers[-settings.num_class :]
    return {'weight': weight.view(settings.num_class, -1), 'bias': bias.clone()}


def _bytes(raw: np.ndarray) -> Tensor:
    return torch.from_numpy(raw.copy()).reshape(-1)


def _floats(raw: np.ndarray) -> Tensor:
    numbers = np.frombuffer(raw.tobytes(), '<f4').astype(np.float32)
    return torch.from_numpy(numbers)


def _raw(tensor: Tensor) -> np.ndarray:
    values = tensor.detach().cpu().contiguous().numpy()
    little = values if values.dtype == np.uint8 else values.astype('<f4')
    return np.frombuffer(little.tobytes(), np.uint8)
