"""The description of a file: groups of tensors, their sizes, and what a coder would save."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import torch
from torch import Tensor

from mmqadapter.quant import LayerQuantizer, pack
from mmqadapter.taskfile.contents import describe_tensors, split_content, storage_groups
from mmqadapter.taskfile.format import TaskContent
from mmqadapter.taskfile.head_serialization import serialize_head

UNEVEN = torch.arange(1000) // 750


def content(bits: int | None, entries: dict | None = None, **adapters: Tensor) -> TaskContent:
    """Return the content of a file with these adapter tensors and, if given, head entries."""
    metadata: dict[str, Any] = {'tuning': {'quantizer': None if bits is None else {'bits': bits}}}
    tensors = {f'adapters:{name}': tensor for name, tensor in adapters.items()}
    if entries is not None:
        head, metadata['head'] = serialize_head(entries)
        tensors |= head
    return TaskContent(metadata, tensors)


def quantized() -> TaskContent:
    """Return a file with 2-bit adapters, and weights of 4 bits and 1 bit in head and neck."""
    entries = {
        'neck.one': LayerQuantizer(1).pack(torch.randn(3, 10)),
        'head.b.weight': LayerQuantizer(4).pack(torch.randn(5, 7)),
        'head.a.weight': LayerQuantizer(4).pack(torch.randn(2, 3)),
        'head.a.bias': torch.ones(2, dtype=torch.float16),
        'head.level': torch.ones(3, 1),
        'head.count': torch.tensor(7),
    }
    codes = pack(torch.randint(4, (24,)), 2)
    return content(2, entries, codes=codes, statistics=torch.ones(4), floats=torch.ones(3))


def test_groups_are_by_part_and_kind_of_storage() -> None:
    groups = storage_groups(quantized())
    assert [(g['part'], g['stored'], g['numbers'], g['bytes']) for g in groups] == [
        ('adapters', '2-bit codes', 24, 6),
        ('adapters', 'statistics', 4, 16),
        ('adapters', 'floats', 3, 12),
        ('head', '4-bit codes', 35 + 6, 18 + 3),
        ('head', 'statistics of 4-bit codes', 2 * (5 + 2), 4 * (5 + 2)),
        ('head', 'float16', 2, 4),
        ('head', 'float32', 3, 12),
        ('head', 'int64', 1, 8),
        ('neck', '1-bit codes', 30, 4),
        ('neck', 'statistics of 1-bit codes', 2 * 3, 4 * 3),
    ]


def test_only_codes_have_an_entropy() -> None:
    for group in storage_groups(quantized()):
        coded = group['stored'].endswith('-bit codes') and 'statistics' not in group['stored']
        assert (group['entropy'] is not None) == (group['lossless'] is not None) == coded


def test_float_adapters_have_no_codes() -> None:
    (group,) = storage_groups(content(None, floats=torch.ones(5)))
    assert (group['stored'], group['bytes'], group['entropy']) == ('floats', 20, None)


@pytest.mark.parametrize(
    ('codes', 'entropy', 'lossless'),
    [
        (torch.zeros(1000), 0, 1),  # an ideal coder of single codes
        (UNEVEN[torch.randperm(1000)], 0.8113, 1 - 0.8113 / 8),  # two values, one more frequent
        (torch.arange(256).repeat(8), 8, None),  # zlib finds the repetition
        (torch.randperm(256), 8, 0),  # neither saves anything
    ],
    ids=['constant', 'uneven', 'repeating', 'none'],
)
def test_the_share_that_a_coder_would_save(
    codes: Tensor, entropy: float, lossless: float | None
) -> None:
    stored = codes.to(torch.uint8)
    zipped = len(zlib.compress(stored.numpy().tobytes(), 9)) / len(stored)
    (group,) = storage_groups(content(8, codes=stored))
    assert group['entropy'] == pytest.approx(entropy, abs=1e-3)
    expected = 1 - zipped if lossless is None else lossless
    assert group['lossless'] == pytest.approx(expected, abs=1e-4)


def test_the_description_has_types_and_shapes_by_names_of_the_model() -> None:
    described = describe_tensors(quantized())
    assert described == {
        'adapters:codes': ['torch.uint8', [6]],
        'adapters:floats': ['torch.float32', [3]],
        'adapters:statistics': ['torch.float32', [4]],
        'head.a.bias': ['torch.float16', [2]],
        'head.a.weight': ['4 bits', [2, 3]],
        'head.b.weight': ['4 bits', [5, 7]],
        'head.count': ['torch.int64', []],
        'head.level': ['torch.float32', [3, 1]],
        'neck.one': ['1 bits', [3, 10]],
    }
    assert list(described) == sorted(described)


def test_without_a_tree_tensors_are_stored_under_their_own_names() -> None:
    plain, weight = content(1, codes=torch.ones(2, dtype=torch.uint8)), torch.ones(2, 3)
    whole = TaskContent(plain.metadata, {**plain.tensors, 'head.w': weight})
    adapters, entries = split_content(whole)
    assert adapters.keys() == {'codes'} and entries == {'head.w': weight}


@pytest.mark.parametrize(
    ('bits', 'codes'),
    [(2.0, torch.zeros(3, dtype=torch.uint8)), (2, torch.zeros(3)), (2, torch.zeros(0).byte())],
)
def test_invalid_codes_are_described_as_plain_tensors(bits: Any, codes: Tensor) -> None:
    """Loading refuses such a file; inspecting it does not fail."""
    (group,) = storage_groups(content(bits, codes=codes))
    assert (group['stored'], group['numbers'], group['bytes']) == (
        'codes', codes.numel(), codes.nbytes,
    )  # fmt: skip
