from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mmqadapter.data_checks.masks import box_fault, mask_fault, run_lengths

SQUARE = [[1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 70), st.floats(0, 1))
def test_run_lengths_agree_with_pycocotools(seed: int, h: int, w: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((h, w)) < share
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    runs = run_lengths(encoded['counts'])
    assert runs == run_lengths(encoded['counts'].decode())
    assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), mask.ravel(order='F'))


@pytest.mark.parametrize('good', [SQUARE, [[0, 0], *SQUARE], dict(size=[8, 8], counts=[10, 4, 50])])
def test_a_sound_mask_has_no_fault(good: object) -> None:
    assert mask_fault(good, 8, 8) == ''


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        ([[1, 1, 5, 1]], 'no polygon has three points'),
        ([[1, 1, 5, 1, 5, 5, 1]], 'no polygon has three points'),
        ([['a', 1, 5, 1, 5, 5]], 'does not decode'),
        ([[float('nan'), 1, 5, 1, 5, 5]], 'not finite'),
        ([[1e12, 1, 5, 1, 5, 5]], 'far outside the image'),
        ([[-5, -5, -2, -5, -2, -2]], 'covers no pixel'),
        ('text', 'does not decode'),
        (dict(size=[8, 8]), 'counts'),
        (dict(size=[8, 9], counts=[72]), r'size \(height, width\) is \[8, 9\]'),
        (dict(size=[8, 8], counts=[10, 4]), 'cover 14 of 64 pixels'),
        (dict(size=[8, 8], counts=''), 'cover 0 of 64 pixels'),
        (dict(size=[8, 8], counts='~~~'), 'pixels'),
        (dict(size=[8, 8], counts=[64]), 'covers no pixel'),
    ],
)
def test_a_bad_mask_says_why(bad: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        raise ValueError(mask_fault(bad, 8, 8))


@pytest.mark.parametrize(
    ('bbox', 'area', 'message'),
    [
        ([0, 0, 4, 4], 16, ''),
        ([6, 6, 9, 9], 4, ''),
        ([0, 0, 0, 4], 16, 'narrower than one pixel'),
        ([0, 0, 4, -4], 16, 'narrower than one pixel'),
        ([8, 0, 4, 4], 16, 'outside the 8 x 8 image'),
        ([0, 0, 4], 16, 'four finite numbers'),
        ([0, 0, 4, float('nan')], 16, 'four finite numbers'),
        ([0, 0, '4', 4], 16, 'four finite numbers'),
        ([0, 0, 4, 4], 0, 'area is 0'),
    ],
)
def test_box_faults(bbox: list, area: float, message: str) -> None:
    fault = box_fault(dict(bbox=bbox, area=area), 8, 8)
    assert message in fault and bool(fault) == bool(message)


def test_a_number_that_is_too_long_is_no_box() -> None:
    box = dict(bbox=[10**400, 1, 4, 4], area=16)
    assert 'is not four finite numbers' in box_fault(box, 12, 8)
