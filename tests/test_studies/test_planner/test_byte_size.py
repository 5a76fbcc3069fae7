from __future__ import annotations

import pytest

from mmqadapter.studies.planner.byte_size import parse_size


@pytest.mark.parametrize(
    ('text', 'size'),
    [('64K', 65536), ('1M', 1048576), ('1.5m', 1572864), ('73920', 73920), (' 2 KiB ', 2048)],
)
def test_k_is_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize('text', ['', 'K', '-1K', '0', '64G', '1,5M', 'much', '0.1'])
def test_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='is invalid: expected bytes, or a number followed by K'):
        parse_size(text)
