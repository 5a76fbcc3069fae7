"""The .bin file: every byte is preserved; wrong sizes and impossible numbers are refused."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from released import decode, make_bytes, settings_of

from mmqadapter.interop.petl_vit import read_petl, write_petl
from mmqadapter.interop.petl_vit.layout import (
    file_bytes,
    from_bytes,
    matrix_bytes,
    matrix_count,
    to_bytes,
)
from mmqadapter.interop.petl_vit.settings import METHODS, PetlSettings
from mmqadapter.quant import Encoded, GaussianQuantizer, unpack

Release = Callable[..., tuple[Path, Path]]
ANY = st.fixed_dictionaries(
    {
        'method': st.sampled_from(METHODS),
        'bit': st.sampled_from([1, 2, 4]),
        'dim': st.integers(1, 16),
        'num_class': st.integers(1, 9),
    }
)


@given(changes=ANY, random=st.randoms(use_true_random=False))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_preserved(changes: dict[str, Any], random: Any) -> None:
    known = PetlSettings(**settings_of(**changes))
    data = random.randbytes(file_bytes(known))
    assert to_bytes(from_bytes(known, data)) == data


@given(changes=ANY, seed=st.integers(0, 99))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_weights_are_those_of_another_decoding(changes: dict[str, Any], seed: int) -> None:
    plain = settings_of(**changes)
    known, data = PetlSettings(**plain), make_bytes(plain, seed=seed)
    content = from_bytes(known, data)
    blocks, head = decode(data, plain)
    expected = np.stack([m.reshape(-1) for block in blocks for m in block.values()])
    packed = content.codes.view(matrix_count(known), matrix_bytes(known))
    codes = torch.stack([unpack(p, known.bit, 16 * known.dim) for p in packed])
    mean, std = content.statistics.view(-1, 2).T[..., None]
    actual = GaussianQuantizer(known.bit).decode(Encoded(codes, mean, std)).numpy()
    # At 4 bits the last digit of a level depends on the number of alternations.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0 if known.bit < 4 else 1e-6)
    if not known.binary_head:
        assert np.array_equal(content.head['weight'].numpy(), head['weight'])
        assert np.array_equal(content.head['bias'].numpy(), head['bias'])


@pytest.mark.parametrize('method', METHODS)
def test_reading_and_writing_preserves_the_files(
    release: Release, tmp_path: Path, method: str
) -> None:
    binary, text = release(method=method)
    write_petl(read_petl(binary, text), tmp_path / 'new/a.bin', tmp_path / 'new/a.yaml')
    assert (tmp_path / 'new/a.bin').read_bytes() == binary.read_bytes()
    assert (tmp_path / 'new/a.yaml').read_bytes() == text.read_bytes()


@pytest.mark.parametrize('method', METHODS)
def test_another_length_is_refused(release: Release, method: str) -> None:
    binary, text = release(method=method)
    data = binary.read_bytes()
    for wrong in (b'', data[:-1], data[:100], data + b'\0', data * 2):
        binary.write_bytes(wrong)
        sizes = (
            rf"toy\.bin' has {len(wrong):,} bytes, but '.*toy\.yaml' .* describes {len(data):,}; "
        )
        settings = rf'\({method}, 1 bit, dim 4, 5 classes\)'
        with pytest.raises(ValueError, match=f'{sizes}give the .yaml file of this') as caught:
            read_petl(binary, text)
        assert re.search(settings, str(caught.value))


def test_the_yaml_of_another_task_is_refused(release: Release) -> None:
    binary, _ = release()
    data = binary.read_bytes()
    for other in (dict(dim=8), dict(method='lora'), dict(num_class=6), dict(bit=2)):
        with pytest.raises(ValueError, match='give the .yaml file of this .bin file'):
            read_petl(*release(data, **other))


NAN, ZERO = struct.pack('<f', float('nan')), struct.pack('<f', 0.0)


@pytest.mark.parametrize(
    ('where', 'change', 'text'),
    [
        (slice(8, 12), NAN, 'NaN or inf'),
        (slice(12, 16), ZERO, 'a standard deviation is not above 0'),
        (slice(12, 16), struct.pack('<f', -1.0), 'a standard deviation is not above 0'),
        (slice(0, 8), bytes(8), 'all weights of a matrix are equal'),
        (slice(0, 8), b'\xff' * 8, 'all weights of a matrix are equal'),
        (slice(-4, None), NAN, 'NaN or inf'),
    ],
)
def test_impossible_numbers_are_refused(
    release: Release, where: slice, change: bytes, text: str
) -> None:
    binary, yaml = release()
    data = bytearray(binary.read_bytes())
    data[where] = change
    binary.write_bytes(data)
    with pytest.raises(
        ValueError, match=f"toy.bin' is invalid: .*{text}.*; the file .*download both again"
    ):
        read_petl(binary, yaml)


def test_impossible_numbers_of_a_binary_head_are_refused(release: Release) -> None:
    binary, yaml = release(method='lora-bihead')
    data = binary.read_bytes()
    for broken in (data[:-4] + ZERO, data[:-18] + bytes(10) + data[-8:]):
        binary.write_bytes(broken)
        with pytest.raises(ValueError, match='not above 0|are equal'):
            read_petl(binary, yaml)


def test_missing_file_is_reported(release: Release, tmp_path: Path) -> None:
    binary, yaml = release()
    for path in (tmp_path / 'none.bin', tmp_path):
        with pytest.raises(FileNotFoundError, match='check the path'):
            read_petl(path, yaml)
