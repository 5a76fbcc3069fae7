"""What lies in a task file: parts, groups and their sizes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from mmqadapter.quant import BITS, PackedWeight, code_entropy, unpack
from mmqadapter.taskfile.adapter_codec import CODES
from mmqadapter.taskfile.fingerprint import tensor_bytes
from mmqadapter.taskfile.format import TaskContent
from mmqadapter.taskfile.head import Entry
from mmqadapter.taskfile.head_serialization import deserialize_head

BLOB_PREFIX = 'adapters:'


@dataclass(frozen=True)
class Group:
    """Numbers of one part of the model that are stored alike.

    Attributes:
        part: ``adapters``, or the model's child: ``neck``, ``decode_head`` and the like.
        stored: Such as ``1-bit codes``, ``statistics``, ``float16``.
        numbers: How many; of codes the padding to whole bytes included.
        bytes: What they occupy.
        entropy: Of codes, in bits per code; None of anything else.
        lossless: Share of the bytes that a lossless coder would save: zlib, or an ideal one that
            looks at single codes, whichever is better. None where there are no codes.
    """

    part: str
    stored: str
    numbers: int
    bytes: int
    entropy: float | None = None
    lossless: float | None = None


def split(content: TaskContent) -> tuple[dict[str, Tensor], dict[str, Entry]]:
    """Blobs of the adapters, and everything else by its name in the model.

    Raises:
        ValueError: Names and numbers of quantised weights do not belong together.
    """
    own = {n: t for n, t in content.tensors.items() if n.startswith(BLOB_PREFIX)}
    blobs = {name.removeprefix(BLOB_PREFIX): tensor for name, tensor in own.items()}
    rest = {name: tensor for name, tensor in content.tensors.items() if name not in own}
    if 'head' in content.metadata:
        return blobs, deserialize_head(rest, content.metadata['head'])
    return blobs, dict(rest)


def described(content: TaskContent) -> dict[str, list]:
    """Type and shape of each tensor, by its name in the model where it has one."""
    blobs, entries = split(content)
    named: dict[str, Entry] = {f'{BLOB_PREFIX}{n}': t for n, t in blobs.items()}
    named |= entries
    return {
        name: [
            f'{entry.bits} bits' if isinstance(entry, PackedWeight) else str(entry.dtype),
            list(entry.shape),
        ]
        for name, entry in sorted(named.items())
    }


def groups(content: TaskContent) -> list[dict[str, Any]]:
    """Groups of a file, see :class:`Group`."""
    blobs, entries = split(content)
    found = [*_adapter_groups(blobs, content.metadata), *_head_groups(entries)]
    return [asdict(group) for group in found]


def _adapter_groups(blobs: dict[str, Tensor], metadata: dict[str, Any]) -> Iterator[Group]:
    bits = (metadata['tuning'].get('quantizer') or {}).get('bits')
    for name, blob in blobs.items():
        coded = name == CODES and blob.dtype == torch.uint8 and blob.numel()
        if coded and type(bits) is int and bits in BITS:
            yield _coded('adapters', bits, [(blob, blob.numel() * 8 // bits)])
        else:
            yield Group('adapters', name, blob.numel(), blob.nbytes)


def _head_groups(entries: dict[str, Entry]) -> Iterator[Group]:
    kinds = sorted((n.partition('.')[0], _kind(e), n) for n, e in entries.items())
    for (part, kind), members in groupby(kinds, key=lambda row: row[:2]):
        chosen = [entries[name] for _, _, name in members]
        packed = [entry for entry in chosen if isinstance(entry, PackedWeight)]
        if sum(p.codes.numel() for p in packed):
            sizes = [(p.codes, torch.Size(p.shape).numel()) for p in packed]
            yield _coded(part, packed[0].bits, sizes)
            count = sum(2 * p.mean.numel() for p in packed)
            yield Group(part, f'statistics of {kind}', count, 2 * count)
        else:
            plain = [entry for entry in chosen if isinstance(entry, Tensor)]
            yield Group(part, kind, sum(t.numel() for t in plain), sum(t.nbytes for t in plain))


def _kind(entry: Entry) -> str:
    if isinstance(entry, PackedWeight):
        return f'{entry.bits}-bit codes'
    return str(entry.dtype).removeprefix('torch.')


def _coded(part: str, bits: int, packed: Iterable[tuple[Tensor, int]]) -> Group:
    """Group of packed codes, each with the number of codes in it."""
    packed = list(packed)
    entropy = code_entropy(torch.cat([unpack(p, bits, count) for p, count in packed]))
    content = b''.join(tensor_bytes(p) for p, _ in packed)
    shorter = len(zlib.compress(content, 9)) / len(content)
    saved = max(1 - entropy / bits, 1 - shorter, 0.0)
    numbers = sum(count for _, count in packed)
    return Group(part, f'{bits}-bit codes', numbers, len(content), entropy, saved)
