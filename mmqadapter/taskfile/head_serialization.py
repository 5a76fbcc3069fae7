"""Neck and head with quantised weights: few tensors, and a tree of names.

One tensor for each entry would take 100 bytes of header, for a bias as for a matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmqadapter.quant import BITS, PackedWeight, stored_sizes
from mmqadapter.taskfile.format import REMEDY
from mmqadapter.utils.text import one_line

PREFIX = 'head:'
CODES, STATISTICS = f'{PREFIX}codes', f'{PREFIX}statistics'
# Kinds of tensors that are told by their width; all others by their type's name.
WIDTHS = {torch.float16: 16, torch.float32: 32}
# By name alone: what a file says is never looked up among torch's attributes.
DTYPES: dict[Any, torch.dtype] = {
    str(t).removeprefix('torch.'): t for t in vars(torch).values() if type(t) is torch.dtype
}
DTYPES |= {width: dtype for dtype, width in WIDTHS.items()}


def serialize_head(
    entries: Mapping[str, Tensor | PackedWeight],
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of the file, and the tree that tells what lies in them.

    The tree has a level for each dot in a name. A leaf is ``[bits, output dimension, *shape]`` of
    a quantised weight, ``[16 or 32, *shape]`` of a float one, ``[type, *shape]`` of any other.
    """
    tree: dict[str, Any] = {}
    blobs: dict[str, list[Tensor]] = {}
    for path in sorted(name.split('.') for name in entries):
        entry, node = entries['.'.join(path)], tree
        for level in path[:-1]:
            node = node.setdefault(level, {})
        node[path[-1]], pieces = _leaf(entry)
        for name, piece in pieces:
            blobs.setdefault(name, []).append(piece.reshape(-1))
    return {name: torch.cat(pieces) for name, pieces in blobs.items()}, tree


def deserialize_head(tensors: Mapping[str, Tensor], tree: Any) -> dict[str, Tensor | PackedWeight]:
    """Inverse of :func:`serialize_head`.

    Raises:
        ValueError: Tensors and tree do not belong together.
    """
    try:
        rest = dict(tensors)
        entries = {name: _entry(leaf, rest) for name, leaf in _leaves(tree)}
        if left := [name for name, blob in rest.items() if blob.numel()]:
            raise ValueError(f'more numbers than names in {left}')
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        told = f'names and numbers of neck and head differ ({one_line(error)}); {REMEDY}.'
        raise ValueError(told) from error
    return entries


def _leaf(entry: Tensor | PackedWeight) -> tuple[list, list[tuple[str, Tensor]]]:
    if isinstance(entry, PackedWeight):
        pieces = [(CODES, entry.codes), (STATISTICS, entry.mean), (STATISTICS, entry.std)]
        return [entry.bits, entry.output_dim, *entry.shape], pieces
    kind = str(entry.dtype).removeprefix('torch.')
    return [WIDTHS.get(entry.dtype, kind), *entry.shape], [(PREFIX + kind, entry)]


def _leaves(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, list]]:
    """Names and leaves, in the order of :func:`serialize_head`."""
    for name in sorted(tree):
        path = (*above, name)
        if isinstance(tree[name], dict):
            yield from _leaves(tree[name], path)
        else:
            yield '.'.join(path), tree[name]


def _entry(leaf: Sequence, rest: dict[str, Tensor]) -> Tensor | PackedWeight:
    kind, *shape = leaf
    if kind in BITS:
        dim, *shape = shape
        _check_shape([dim, *shape])
        size, count = stored_sizes(kind, dim, shape)
        codes = _take(rest, CODES, torch.uint8, size)
        mean, std = _take(rest, STATISTICS, torch.float16, count).chunk(2)
        return PackedWeight(kind, dim, tuple(shape), codes, mean, std)
    _check_shape(shape)
    dtype = DTYPES[kind]
    name = PREFIX + str(dtype).removeprefix('torch.')
    return _take(rest, name, dtype, torch.Size(shape).numel()).reshape(shape)


def _check_shape(numbers: Iterable[int]) -> None:
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f'{numbers} is no shape')


def _take(rest: dict[str, Tensor], name: str, dtype: torch.dtype | None, count: int) -> Tensor:
    """The next ``count`` numbers of a blob."""
    blob = rest[name]
    if blob.dtype != dtype or blob.ndim != 1 or blob.numel() < count:
        raise ValueError(f'{name} has {tuple(blob.shape)} of {blob.dtype}, {count} more are needed')
    rest[name] = blob[count:]
    return blob[:count]
