"""Length of a safetensors file, computed without its content."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import torch

# In the order in which safetensors stores tensors: wide types first, so that all are aligned.
CODES = {
    'torch.int64': 'I64',
    'torch.float64': 'F64',
    'torch.float32': 'F32',
    'torch.int32': 'I32',
    'torch.bfloat16': 'BF16',
    'torch.float16': 'F16',
    'torch.int16': 'I16',
    'torch.int8': 'I8',
    'torch.uint8': 'U8',
    'torch.bool': 'BOOL',
}
LENGTH_BYTES = 8  # of the header's length, which precedes the header
ALIGNMENT = 8  # of the header's end
Entry = tuple[str, Sequence[int]]  # dtype, such as 'torch.float32', and shape
Entries = Mapping[str, Entry]


def container_bytes(tensors: Entries, key: str, text: str) -> int:
    """Return the bytes of the file with these tensors and one metadata text.

    Args:
        tensors: Type and shape by name.
        key: Key of the metadata.
        text: Value of the metadata.
    """
    header: dict[str, object] = {'__metadata__': {key: text}}
    end = 0
    for name in sorted(tensors, key=lambda name: (list(CODES).index(tensors[name][0]), name)):
        dtype, shape = tensors[name]
        start, end = end, end + entry_bytes(tensors[name])
        offsets = [start, end]
        header[name] = {'dtype': CODES[dtype], 'shape': list(shape), 'data_offsets': offsets}
    length = len(json.dumps(header, separators=(',', ':'), ensure_ascii=False).encode())
    return LENGTH_BYTES + math.ceil(length / ALIGNMENT) * ALIGNMENT + end


def entry_bytes(entry: Entry) -> int:
    """Return the bytes of a tensor's content."""
    dtype, shape = entry
    return getattr(torch, dtype.removeprefix('torch.')).itemsize * math.prod(shape)
