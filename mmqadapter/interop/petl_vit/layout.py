"""Layout of the .bin file: raw bytes without a header, described by its .yaml file.

The file holds one adapter matrix after the other, in the order of the blocks, within a block
``down, up`` of AdaptFormer or ``q.down, q.up, v.down, v.up`` of LoRA. Each is stored as its packed
codes (n bits / 8 bytes, first code in the lowest bits), then mean and standard deviation as
float32 (8 bytes). The classifier follows: weight and bias as float32, or one more matrix of 1 bit.
All numbers are little-endian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmqadapter.interop.petl_vit.settings import PetlSettings
from mmqadapter.quant import packed_bytes

HEAD_BITS = 1


@dataclass(frozen=True)
class PetlContent:
    """Content of the two files of a released task.

    Attributes:
        settings: Content of the .yaml file.
        codes: uint8, packed codes of all adapter matrices.
        statistics: float32, mean and standard deviation of one matrix after the other.
        head: Classifier: float32 ``weight`` (classes, C) and ``bias`` (classes,); or, at 1 bit,
            uint8 ``codes`` (packed) and float32 ``statistics`` (2,).
    """

    settings: PetlSettings
    codes: Tensor
    statistics: Tensor
    head: dict[str, Tensor]


def matrix_count(settings: PetlSettings) -> int:
    """Return the number of adapter matrices."""
    return settings.net.blocks * (4 if settings.lora else 2)


def matrix_bytes(settings: PetlSettings) -> int:
    """Return the bytes of the codes of one adapter matrix."""
    return packed_bytes(settings.net.channels * settings.dim, settings.bit)


def adapter_bytes(settings: PetlSettings) -> int:
    """Return the bytes of all adapters."""
    return file_dtype(settings)['adapters'].itemsize


def file_bytes(settings: PetlSettings) -> int:
    """Return the bytes of the whole .bin file."""
    return file_dtype(settings).itemsize


def file_dtype(settings: PetlSettings) -> np.dtype:
    """Return the layout of the .bin file as one structured type."""
    adapters = _matrix_dtype(matrix_bytes(settings))
    return np.dtype(
        [('adapters', adapters, (matrix_count(settings),)), ('head', _head_dtype(settings))]
    )


def from_bytes(settings: PetlSettings, data: bytes) -> PetlContent:
    """Return the content of a .bin file, which has ``file_bytes(settings)`` bytes."""
    record = np.frombuffer(data, file_dtype(settings))[0]
    adapters, head = record['adapters'], record['head']
    tensors = {name: _tensor(head[name]) for name in head.dtype.names}
    codes, statistics = (_tensor(adapters[name]).flatten() for name in adapters.dtype.names)
    return PetlContent(settings, codes, statistics, tensors)


def to_bytes(content: PetlContent) -> bytes:
    """Return the bytes of a .bin file: the inverse of :func:`from_bytes`."""
    record = np.zeros((), file_dtype(content.settings))
    adapters, head = record['adapters'], record['head']
    for array, tensor in (
        (adapters['codes'], content.codes),
        (adapters['statistics'], content.statistics),
        *((head[name], content.head[name]) for name in head.dtype.names or ()),
    ):
        array[...] = tensor.detach().cpu().numpy().reshape(array.shape)
    return record.tobytes()


def _matrix_dtype(code_bytes: int) -> np.dtype:
    return np.dtype([('codes', 'u1', (code_bytes,)), ('statistics', '<f4', (2,))])


def _head_dtype(settings: PetlSettings) -> np.dtype:
    channels, classes = settings.net.channels, settings.num_class
    if settings.binary_head:
        return _matrix_dtype(packed_bytes(channels * classes, HEAD_BITS))
    return np.dtype([('weight', '<f4', (classes, channels)), ('bias', '<f4', (classes,))])


def _tensor(values: np.ndarray) -> Tensor:
    """Return a copy of ``values``, in the byte order of this machine."""
    return torch.from_numpy(values.astype(values.dtype.newbyteorder('='), order='C'))
