"""The yaml file: what is read, what is refused, and that nothing in it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from released import settings_of

from mmqadapter.interop.petl_vit.settings import PetlSettings, read_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'toy.yaml'


def test_what_is_read_is_written_again(file: Path) -> None:
    text = yaml.safe_dump(settings_of(method='lora-bihead', scale=0.01))
    file.write_text(text)
    read = read_settings(file)
    assert read.lora and read.binary_head and read.text() == text
    assert read.adapter == {'type': 'LoRA', 'rank': 4, 'scale': 0.01}
    assert read.quantizer == {'type': 'GaussianQuantizer', 'bits': 1}


def test_a_whole_number_is_a_scale_too(file: Path) -> None:
    file.write_text(yaml.safe_dump(settings_of(scale=10)))
    assert read_settings(file) == PetlSettings(**settings_of(scale=10.0))
    assert type(read_settings(file).scale) is float


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (
            dict(backbone='swin_base'),
            r"backbone is 'swin_base'; one of .*vit_base_patch16_224_in21k",
        ),
        (dict(method='vpt'), "method is 'vpt'; one of .*adaptformer-bihead"),
        (dict(bit=3), r'bit is 3; one of \(1, 2, 4\) is expected'),
        (dict(bit=8), 'bit is 8'),
        (dict(bit=True), 'bit is True'),
        (dict(dim=0), 'dim is 0; 1 to 16 is expected'),
        (dict(dim=17), 'dim is 17'),
        (dict(dim=4.0), r'dim is 4\.0'),
        (dict(num_class=10**30), 'num_class is 1000.*; 1 to 100000'),
        (dict(dataset=7), 'dataset is 7; a name is expected'),
        (dict(scale=0.0), r'scale is 0\.0; a number other than 0'),
        (dict(scale=float('nan')), 'scale is nan'),
        (dict(scale='learned'), "scale is 'learned'"),
        (dict(scale=10**400), 'toy.yaml'),
        (dict(backbone=['a'] * 50), 'backbone is'),
    ],
    ids=str,
)
def test_wrong_values_are_named(file: Path, change: dict[str, Any], text: str) -> None:
    file.write_text(yaml.safe_dump(settings_of(**change)))
    with pytest.raises(ValueError, match=text) as caught:
        read_settings(file)
    assert 'toy.yaml' in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    'text',
    ['', '7', '[]', 'bit: 1', yaml.safe_dump({**settings_of(), 'more': 1}), '? [a]\n: 1\n'],
)
def test_other_settings_are_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match='toy.yaml.*(are expected|no yaml)'):
        read_settings(file)


@pytest.mark.parametrize(
    'text',
    ['\0', 'a: [', '[' * 1000, 'a: 2001-99-99', 'a: !!python/name:os.system', '\xff' * 20],
    ids=repr,
)
def test_no_yaml(file: Path, text: str) -> None:
    file.write_bytes(text.encode('latin-1'))
    with pytest.raises(ValueError, match="toy.yaml' is no yaml .*; give the .yaml file"):
        read_settings(file)


def test_nothing_in_it_runs(file: Path, tmp_path: Path) -> None:
    proof = tmp_path / 'proof'
    file.write_text(f'bit: !!python/object/apply:os.mkdir ["{proof}"]')
    with pytest.raises(ValueError, match='no yaml'):
        read_settings(file)
    assert not proof.exists()


@pytest.mark.parametrize(('first', 'level'), [('[lol]', '[{}]'), ('{x: 1}', '{{<<: [{}]}}')])
def test_repeated_references_do_not_grow(file: Path, first: str, level: str) -> None:
    """References cost nothing; what they merge is copied, nine times as much in each level."""
    levels = ''.join(
        f'{b}: &{b} {level.format(", ".join([f"*{a}"] * 9))}\n'
        for a, b in zip('abcdefghijkl', 'bcdefghijklm', strict=True)
    )
    file.write_text(f'a: &a {first}\n{levels}')
    with pytest.raises(ValueError, match='an alias, which no settings need') as caught:
        read_settings(file)
    assert len(str(caught.value)) < 600


def test_a_long_file_is_not_read(file: Path) -> None:
    file.write_bytes(b'#' * 5000)
    with pytest.raises(ValueError, match='longer than 1024 bytes; is it the .yaml file'):
        read_settings(file)


def test_a_path_that_does_not_exist(file: Path) -> None:
    for path in (file, file.parent):
        with pytest.raises(FileNotFoundError, match='check the path'):
            read_settings(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(ValueError, match='toy.yaml'):
        read_settings(file)
