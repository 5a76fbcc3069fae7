"""Metadata of a task file: an invalid or missing field is named, with what was expected."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from mmqadapter.taskfile.fields import FIELDS, check_fields
from mmqadapter.taskfile.format import TaskContent, read_task, write_content

WHOLE: dict[str, Any] = {
    'version': 2,
    'tuning': {'type': 'AdaptedBackbone', 'adapter': {'width': 4}, 'quantizer': {'bits': 1}},
    'trunk': 'ab12',
    'head_bits': 16,
    'dataset': {'classes': ['road', 'tree'], 'palette': [[1, 2, 3], [4, 5, 6]]},
    'head': {'classify': [16, 3]},
    'tied': {'again': 'classify'},
}
OPTIONAL = set(FIELDS) - {'tuning', 'trunk', 'head_bits'}
SETTINGS, SHA = 'settings or null', 'the fingerprint of a trunk'
# Values of another type, by field and by what the error expects. True is not accepted as an int.
WRONG: dict[tuple[str, str], list[Any]] = {
    ('tuning', 'the settings of a wrapped backbone'): [None, [], 'x'],
    ('tuning.type', 'a name or null'): [3, ['x']],
    ('tuning.adapter', SETTINGS): ['x', []],
    ('tuning.quantizer', SETTINGS): [1, [1]],
    ('trunk', SHA): [None, 12, '', 'a b', 'a/b', 'é', ['ab']],
    ('head_bits', 'a number of bits'): [None, '16', True, 16.0],
    ('dataset', 'classes and palette, or null'): [[], 'x'],
    ('dataset.classes', 'a list of names, or null'): ['road', [1], ['road', None], {'road': 1}],
    ('dataset.palette', 'a list of colors, or null'): [
        [1, 2, 3],
        ['123'],
        [[1, 2.0]],
        [[True]],
        'x',
        {},
    ],
    ('head', 'a tree of names, or null'): [[], 3, 'x'],
    ('tied', 'names by names, or null'): [[], 'x', {'again.bias': 3}, {'again.bias': None}],
}


def changed(name: str, value: Any) -> dict[str, Any]:
    """Return ``WHOLE`` with another value at a path."""
    metadata = copy.deepcopy(WHOLE)
    *parents, last = name.split('.')
    parent = metadata
    for level in parents:
        parent = parent[level]
    parent[last] = value
    return metadata


def test_all_fields_have_a_row_here() -> None:
    assert {name for name, _ in WRONG} == set(FIELDS)
    check_fields(WHOLE)
    check_fields({**WHOLE, 'something': 'new'})


@pytest.mark.parametrize('name', sorted(OPTIONAL))
def test_optional_fields_may_be_null_or_missing(name: str) -> None:
    check_fields(changed(name, None))
    metadata, (*parents, last) = copy.deepcopy(WHOLE), name.split('.')
    del (metadata[parents[0]] if parents else metadata)[last]
    check_fields(metadata)


@pytest.mark.parametrize(
    ('name', 'expected', 'value'),
    [(name, expected, value) for (name, expected), values in WRONG.items() for value in values],
    ids=str,
)
def test_another_type_is_refused(name: str, expected: str, value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        check_fields(changed(name, value))
    assert str(caught.value) == f'{name}={value!r} is invalid: expected {expected}'


@pytest.mark.parametrize('name', ['tuning', 'trunk', 'head_bits'])
def test_a_missing_field_is_refused(name: str, tmp_path: Path) -> None:
    metadata = {key: value for key, value in WHOLE.items() if key != name}
    path = tmp_path / 'a'
    write_content(path, TaskContent(metadata, {'w': torch.ones(2)}))
    with pytest.raises(
        ValueError, match=f"a' is not a task file: {name}=None is invalid: .*; copy or"
    ):
        read_task(path)
