from __future__ import annotations

import re

import pytest

from mmqadapter.studies.fits.cards import card_bytes


@pytest.mark.parametrize(
    ('name', 'gib'),
    [
        ('RTX 4090', 24),
        ('NVIDIA GeForce RTX 2080 Ti', 11),
        ('gtx-1080ti', 11),
        ('Tesla V100 32GB', 32),
    ],
)
def test_names_as_users_and_vendors_write_them(name: str, gib: int) -> None:
    assert card_bytes(name) == gib * 2**30


def test_an_unknown_card_names_those_that_are_near() -> None:
    with pytest.raises(ValueError, match=re.escape("gpu='RTX 4091' is invalid")) as error:
        card_bytes('RTX 4091')
    assert 'RTX 4090' in str(error.value) and '--memory' in str(error.value)
