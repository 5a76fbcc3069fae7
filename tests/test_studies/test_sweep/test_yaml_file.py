"""load_yaml refuses duplicate keys, merges as YAML defines it, and executes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmqadapter.studies.sweep.yaml_file import load_yaml


@pytest.mark.parametrize(
    ('text', 'key'),
    [
        ('a: 1\na: 2', 'a'),
        ('a: 1\nb: {c: 1, d: {e: 1, f: 2, e: 3}}', 'e'),
        ('[{x: 1, "x": 2}]', 'x'),
        ('a: &a {b: 1}\nc: {<<: *a, d: 1, d: 2}', 'd'),
        ('a: &a {b: 1}\nc: {<<: *a, <<: *a}', '<<'),
    ],
)
def test_duplicate_keys_are_refused(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / 'twice.yaml'
    file.write_text(text)
    with pytest.raises(
        ValueError, match=f"twice.yaml.* is not valid YAML: duplicate key '{key}'.*line"
    ):
        load_yaml(file)


def test_merged_keys_may_be_overridden(tmp_path: Path) -> None:
    # PyYAML 6.0.4 confuses keys of one letter here.
    file = tmp_path / 'merged.yaml'
    file.write_text(
        'a: &a {rank: 1, bits: 1}\nb: &b {<<: *a, rank: 2}\nc: {<<: *b, width: 3}\nd: *b'
    )
    first, merged = {'rank': 1, 'bits': 1}, {'rank': 2, 'bits': 1}
    expected = {'a': first, 'b': merged, 'c': {**merged, 'width': 3}, 'd': merged}
    assert load_yaml(file) == expected


@pytest.mark.parametrize(
    'text', ['a: [1', '!!python/object/apply:os.getcwd []', '[' * 5000, '\x00']
)
def test_invalid_yaml_and_code_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / 'bad.yaml').write_text(text)
    with pytest.raises(ValueError, match='bad.yaml.* is not valid YAML'):
        load_yaml(tmp_path / 'bad.yaml')
