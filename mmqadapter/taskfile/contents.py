"""Description of a task file's content: tensors, groups of equal storage, and their sizes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor

from mmqadapter.quant import BITS, PackedWeight, code_entropy, unpack
from mmqadapter.taskfile.adapter_codec import ADAPTER_PREFIX, CODES
from mmqadapter.taskfile.fingerprint import tensor_bytes
from mmqadapter.taskfile.format import REMEDY, TaskContent
from mmqadapter.taskfile.head import Entry
from mmqadapter.taskfile.head_serialization import deserialize_head


@dataclass(frozen=True)
class Group:
    """Values of one part of the model that are stored in the same way.

    Attributes:
        part: ``adapters``, or a child of the model, such as ``neck`` or ``decode_head``.
        stored: Kind of storage, such as ``1-bit codes``, ``statistics`` or ``float16``.
        numbers: Count of the values; for codes of adapters it includes the padding to whole bytes.
        bytes: Their size in bytes.
        entropy: Of codes, in bits per code; None for other values.
        lossless: Share of the bytes (0 to 1) that a lossless coder would save: zlib or an ideal
            coder of single codes, whichever saves more. None for other values than codes.
    """

    part: str
    stored: str
    numbers: int
    bytes: int
    entropy: float | None = None
    lossless: float | None = None


def split_content(content: TaskContent) -> tuple[dict[str, Tensor], dict[str, Entry]]:
    """Return the adapter tensors by their short names, and all others by their model's names.

    Tied tensors are stored once, and returned under each of their names.

    Raises:
        ValueError: Names and values of quantized weights do not fit together, or a tied name has no
            tensor.
    """
    adapters, entries = _stored_content(content)
    tied = content.metadata.get('tied') or {}
    for name, stored in tied.items():
        if name in entries or stored not in entries or stored in tied:
            raise ValueError(
                f'{short(name)} is tied to {short(stored)}, which do not fit the tensors; {REMEDY}.'
            )
    return adapters, entries | {name: entries[stored] for name, stored in tied.items()}


def _stored_content(content: TaskContent) -> tuple[dict[str, Tensor], dict[str, Entry]]:
    stored = {n: t for n, t in content.tensors.items() if n.startswith(ADAPTER_PREFIX)}
    adapters = {name.removeprefix(ADAPTER_PREFIX): tensor for name, tensor in stored.items()}
    rest = {name: tensor for name, tensor in content.tensors.items() if name not in stored}
    if 'head' in content.metadata:
        return adapters, deserialize_head(rest, content.metadata['head'])
    return adapters, dict(rest)


def describe_tensors(content: TaskContent) -> dict[str, list]:
    """Return type and shape of each tensor, by its name in the model or the name of the codec."""
    adapters, entries = split_content(content)
    named: dict[str, Entry] = {f'{ADAPTER_PREFIX}{n}': t for n, t in adapters.items()}
    named |= entries
    return {
        name: [
            f'{entry.bits} bits' if isinstance(entry, PackedWeight) else str(entry.dtype),
            list(entry.shape),
        ]
        for name, entry in sorted(named.items())
    }


def storage_groups(content: TaskContent) -> list[dict[str, Any]]:
    """Return the groups of a file as dicts, see :class:`Group`."""
    adapters, entries = _stored_content(content)
    groups = [*_adapter_groups(adapters, content.metadata), *_head_groups(entries)]
    return [asdict(group) for group in groups]


def _adapter_groups(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Iterator[Group]:
    bits = (metadata['tuning'].get('quantizer') or {}).get('bits')
    for name, tensor in tensors.items():
        coded = name == CODES and tensor.dtype == torch.uint8 and tensor.numel()
        if coded and type(bits) is int and bits in BITS:
            yield _code_group('adapters', bits, [(tensor, tensor.numel() * 8 // bits)])
        else:
            yield Group('adapters', name, tensor.numel(), tensor.nbytes)


def _head_groups(entries: dict[str, Entry]) -> Iterator[Group]:
    rows = sorted((n.partition('.')[0], _storage(e), n) for n, e in entries.items())
    for (part, storage), members in groupby(rows, key=lambda row: row[:2]):
        stored = [entries[name] for _, _, name in members]
        packed = [entry for entry in stored if isinstance(entry, PackedWeight)]
        if sum(p.codes.numel() for p in packed):
            sizes = [(p.codes, torch.Size(p.shape).numel()) for p in packed]
            yield _code_group(part, packed[0].bits, sizes)
            count = sum(2 * p.mean.numel() for p in packed)
            yield Group(part, f'statistics of {storage}', count, 2 * count)
        else:
            tensors = [entry for entry in stored if isinstance(entry, Tensor)]
            count = sum(t.numel() for t in tensors)
            yield Group(part, storage, count, sum(t.nbytes for t in tensors))


def _storage(entry: Entry) -> str:
    if isinstance(entry, PackedWeight):
        return f'{entry.bits}-bit codes'
    return str(entry.dtype).removeprefix('torch.')


def _code_group(part: str, bits: int, packed: Iterable[tuple[Tensor, int]]) -> Group:
    """Return the group of packed codes; each tensor comes with the number of codes in it."""
    packed = list(packed)
    entropy = code_entropy(torch.cat([unpack(p, bits, count) for p, count in packed]))
    content = b''.join(tensor_bytes(p) for p, _ in packed)
    zipped = len(zlib.compress(content, 9)) / len(content)
    saved = max(1 - entropy / bits, 1 - zipped, 0.0)
    numbers = sum(count for _, count in packed)
    return Group(part, f'{bits}-bit codes', numbers, len(content), entropy, saved)
