"""The .yaml file: what is read, what is refused, and that no code in it runs."""

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


def test_settings_are_written_as_they_were_read(file: Path) -> None:
    text = yaml.safe_dump(settings_of(method='lora-bihead', scale=0.01))
    file.write_text(text)
    read = read_settings(file)
    assert read.lora and read.binary_head and read.text() == text
    assert read.adapter == {'type': 'LoRA', 'rank': 4, 'scale': 0.01}
    assert read.quantizer == {'type': 'GaussianQuantizer', 'bits': 1}


def test_integer_scale_becomes_a_float(file: Path) -> None:
    file.write_text(yaml.safe_dump(settings_of(scale=10)))
    assert read_settings(file) == PetlSettings(**settings_of(scale=10.0))
    assert type(read_settings(file).scale) is float


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (
            dict(backbone='swin_base'),
            r"backbone='swin_base' is invalid: expected one of .*vit_base_patch16_224_in21k",
        ),
        (dict(method='vpt'), "method='vpt' is invalid: expected one of .*adaptformer-bihead"),
        (dict(bit=3), r'bit=3 is invalid: expected one of \(1, 2, 4\)'),
        (dict(bit=8), 'bit=8 is invalid'),
        (dict(bit=True), 'bit=True is invalid'),
        (dict(dim=0), 'dim=0 is invalid: expected 1 to 16'),
        (dict(dim=17), 'dim=17 is invalid'),
        (dict(dim=4.0), r'dim=4\.0 is invalid'),
        (dict(num_class=10**30), 'num_class=1000.* is invalid: expected 1 to 100000'),
        (dict(dataset=7), 'dataset=7 is invalid: expected a name'),
        (dict(scale=0.0), r'scale=0\.0 is invalid: expected a number other than 0'),
        (dict(scale=float('nan')), 'scale=nan is invalid'),
        (dict(scale='learned'), "scale='learned' is invalid"),
        (dict(scale=10**400), 'toy.yaml'),
        (dict(backbone=['a'] * 50), 'backbone='),
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
    with pytest.raises(ValueError, match='toy.yaml.*(expected the settings|is not valid YAML)'):
        read_settings(file)


@pytest.mark.parametrize(
    'text',
    ['\0', 'a: [', '[' * 1000, 'a: 2001-99-99', 'a: !!python/name:os.system', '\xff' * 20],
    ids=repr,
)
def test_invalid_yaml_is_refused(file: Path, text: str) -> None:
    file.write_bytes(text.encode('latin-1'))
    with pytest.raises(ValueError, match="toy.yaml' is not valid YAML .*; give the .yaml file"):
        read_settings(file)


def test_no_code_runs(file: Path, tmp_path: Path) -> None:
    proof = tmp_path / 'proof'
    file.write_text(f'bit: !!python/object/apply:os.mkdir ["{proof}"]')
    with pytest.raises(ValueError, match='is not valid YAML'):
        read_settings(file)
    assert not proof.exists()


@pytest.mark.parametrize(('first', 'level'), [('[lol]', '[{}]'), ('{x: 1}', '{{<<: [{}]}}')])
def test_aliases_are_refused(file: Path, first: str, level: str) -> None:
    """Each level copies what nine aliases merge, so that twelve levels would fill the memory."""
    levels = ''.join(
        f'{b}: &{b} {level.format(", ".join([f"*{a}"] * 9))}\n'
        for a, b in zip('abcdefghijkl', 'bcdefghijklm', strict=True)
    )
    file.write_text(f'a: &a {first}\n{levels}')
    with pytest.raises(ValueError, match='an alias, which no settings need') as caught:
        read_settings(file)
    assert len(str(caught.value)) < 600


def test_long_file_is_refused(file: Path) -> None:
    file.write_bytes(b'#' * 5000)
    with pytest.raises(ValueError, match='longer than 1,024 bytes; .* give the .yaml file'):
        read_settings(file)


def test_missing_file_is_reported(file: Path) -> None:
    for path in (file, file.parent):
        with pytest.raises(FileNotFoundError, match='check the path'):
            read_settings(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(ValueError, match='toy.yaml'):
        read_settings(file)
