"""Neck and head with quantized weights as a few flat tensors and a tree of names.

One tensor for each entry would take about 100 bytes of header, even for a bias of a few bytes.
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
# Types that the tree names by their width in bits; it has the name of any other type.
WIDTHS = {torch.float16: 16, torch.float32: 32}
# A closed table: a name in a file is never looked up among torch's attributes.
DTYPES: dict[Any, torch.dtype] = {
    str(t).removeprefix('torch.'): t for t in vars(torch).values() if type(t) is torch.dtype
}
DTYPES |= {width: dtype for dtype, width in WIDTHS.items()}


def serialize_head(
    entries: Mapping[str, Tensor | PackedWeight],
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the flat tensors of the file, and the tree that describes their content.

    The tree has a level for each dot in a name. A leaf is ``[bits, output dimension, *shape]`` for
    a quantized weight, ``[16 or 32, *shape]`` for a float tensor and ``[type, *shape]`` for any
    other. The tensors hold the entries in the order of names sorted level by level.
    """
    tree: dict[str, Any] = {}
    values: dict[str, list[Tensor]] = {}
    for path in sorted(name.split('.') for name in entries):
        entry, node = entries['.'.join(path)], tree
        for level in path[:-1]:
            node = node.setdefault(level, {})
        node[path[-1]], parts = _leaf(entry)
        for name, part in parts:
            values.setdefault(name, []).append(part.reshape(-1))
    return {name: torch.cat(parts) for name, parts in values.items()}, tree


def deserialize_head(tensors: Mapping[str, Tensor], tree: Any) -> dict[str, Tensor | PackedWeight]:
    """Return the entries of :func:`serialize_head` by name.

    Raises:
        ValueError: Tensors and tree do not fit together.
    """
    try:
        rest = dict(tensors)
        entries = {name: _entry(leaf, rest) for name, leaf in _leaves(tree)}
        if unnamed := [name for name, tensor in rest.items() if tensor.numel()]:
            raise ValueError(f'more values than names in {unnamed}')
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f'names and values of neck and head do not fit together ({one_line(error)}); {REMEDY}.'
        ) from error
    return entries


def _leaf(entry: Tensor | PackedWeight) -> tuple[list, list[tuple[str, Tensor]]]:
    """Return the leaf of an entry, and its values by the name of the tensor that takes them."""
    if isinstance(entry, PackedWeight):
        parts = [(CODES, entry.codes), (STATISTICS, entry.mean), (STATISTICS, entry.std)]
        return [entry.bits, entry.output_dim, *entry.shape], parts
    kind = str(entry.dtype).removeprefix('torch.')
    return [WIDTHS.get(entry.dtype, kind), *entry.shape], [(PREFIX + kind, entry)]


def _leaves(tree: Any, parents: tuple[str, ...] = ()) -> Iterator[tuple[str, list]]:
    """Yield names and leaves, in the order of :func:`serialize_head`."""
    for name in sorted(tree):
        path = (*parents, name)
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
        raise ValueError(f'{numbers} is not a shape')


def _take(rest: dict[str, Tensor], name: str, dtype: torch.dtype, count: int) -> Tensor:
    """Return the next ``count`` values of a tensor, and leave the others in ``rest``."""
    tensor = rest[name]
    if tensor.dtype != dtype or tensor.ndim != 1 or tensor.numel() < count:
        shape = tuple(tensor.shape)
        raise ValueError(f'{name} has {shape} of {tensor.dtype}, {count} more values are needed')
    rest[name] = tensor[count:]
    return tensor[:count]
