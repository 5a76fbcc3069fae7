"""A few tensors and a tree of names: round trip, layout, and refusal of what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmqadapter.quant import LayerQuantizer, PackedWeight
from mmqadapter.taskfile.head_serialization import deserialize_head, serialize_head

Entries = dict[str, Tensor | PackedWeight]


def entries() -> Entries:
    """Return entries whose names sort differently as text and level by level."""
    return {
        'a.b': LayerQuantizer(4, 1).pack(torch.randn(3, 5)),
        'a-b': LayerQuantizer(1).pack(torch.randn(3, 5)),
        'a.a.c': torch.randn(2, 3),
        'a1': torch.randn(4).half(),
        'z.half': torch.randn(2).half(),
        'z.brain': torch.randn(2).bfloat16(),
        'z.count': torch.tensor(3),
        'z.mask': torch.tensor([True, False]),
        'z.none': torch.empty(0, 3),
    }


def parts(entry: Tensor | PackedWeight) -> tuple:
    if isinstance(entry, PackedWeight):
        tensors = [entry.codes.tolist(), entry.mean.tolist(), entry.std.tolist()]
        return entry.bits, entry.output_dim, entry.shape, tensors
    return entry.dtype, entry.shape, entry.tolist()


def test_the_round_trip_is_exact() -> None:
    original = entries()
    back = deserialize_head(*serialize_head(original))
    assert {name: parts(entry) for name, entry in back.items()} == {
        name: parts(entry) for name, entry in original.items()
    }


def test_the_tree_has_types_and_shapes() -> None:
    tensors, tree = serialize_head(entries())
    assert tree == {
        'a': {'a': {'c': [32, 2, 3]}, 'b': [4, 1, 3, 5]},
        'a-b': [1, 0, 3, 5],
        'a1': [16, 4],
        'z': {
            'brain': ['bfloat16', 2],
            'count': ['int64'],
            'half': [16, 2],
            'mask': ['bool', 2],
            'none': [32, 0, 3],
        },
    }
    assert {name: t.numel() for name, t in tensors.items()} == {
        'head:codes': 8 + 2,
        'head:statistics': 2 * (5 + 3),
        'head:float32': 6,
        'head:float16': 6,
        'head:bfloat16': 2,
        'head:int64': 1,
        'head:bool': 2,
    }


@pytest.mark.parametrize(
    ('name', 'leaf', 'text'),
    [
        ('a1', [16, 3], r"more values than names in \['head:float16'\]"),
        ('a1', [16, 5], r'head:float16 has \(1,\) of torch\.float16, 2 more values are needed'),
        ('a1', [16, -4], r'\[-4\] is not a shape'),
        ('a1', [16, True], r'\[True\] is not a shape'),
        ('a1', [16, 4.0], r'\[4\.0\] is not a shape'),
        ('a1', ['float8', 4], 'float8'),
        ('a-b', [1, -1, 3, 5], r'\[-1, 3, 5\] is not a shape'),
        ('a-b', [3, 0, 3, 5], '3'),
    ],
)
def test_a_leaf_that_does_not_fit_is_refused(name: str, leaf: list, text: str) -> None:
    tensors, tree = serialize_head(entries())
    tree[name] = leaf
    with pytest.raises(ValueError, match=f'names and values of neck and head do not fit .*{text}'):
        deserialize_head(tensors, tree)


@pytest.mark.parametrize(
    ('name', 'tensor'),
    [
        ('head:codes', torch.ones(10, dtype=torch.int8)),
        ('head:statistics', torch.ones(16)),
        ('head:float16', torch.ones(6, 1, dtype=torch.float16)),
        ('head:bool', torch.ones(2, dtype=torch.uint8)),
    ],
)
def test_a_tensor_of_another_type_or_size_is_refused(name: str, tensor: Any) -> None:
    tensors, tree = serialize_head(entries())
    with pytest.raises(ValueError, match=f'neck and head do not fit .*{name} has '):
        deserialize_head({**tensors, name: tensor}, tree)
    assert deserialize_head({**tensors, 'head:more': torch.empty(0)}, tree)
