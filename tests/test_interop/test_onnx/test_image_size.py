"""Image size of a graph, from the config or by request."""

from __future__ import annotations

from typing import Any

import pytest

from mmqadapter.interop.onnx.image_size import choose_size

PADDED: dict[str, Any] = dict(data_preprocessor=dict(size=(240, 320)))
DIVISIBLE: dict[str, Any] = dict(data_preprocessor=dict(test_cfg=dict(size_divisor=32)))


@pytest.mark.parametrize(
    ('model', 'size'),
    [
        (PADDED, (240, 320)),
        (dict(PADDED, test_cfg=dict(mode='slide', crop_size=(512, 512))), (512, 512)),
        (dict(data_preprocessor=dict(size=(8, 8), test_cfg=dict(size=(64, 96)))), (64, 96)),
    ],
)
def test_default_is_the_size_of_the_tests_in_the_config(model: dict, size: tuple[int, int]) -> None:
    assert choose_size(model, None) == size


def test_requested_size_takes_precedence() -> None:
    assert choose_size(PADDED, [100, 200]) == (100, 200)


def test_a_config_without_a_size_asks_for_one() -> None:
    with pytest.raises(ValueError, match='give --image-size HEIGHT WIDTH'):
        choose_size(dict(data_preprocessor=None), None)


@pytest.mark.parametrize('size', [(0, 64), (64, -1), (64,)])
def test_invalid_size_is_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r'is invalid: expected a height and a width in pixels, above 0'
    ):
        choose_size(PADDED, size)


def test_size_that_tests_would_pad_is_refused() -> None:
    assert choose_size(DIVISIBLE, (64, 96)) == (64, 96)
    with pytest.raises(
        ValueError, match=r'60 x 96 is invalid: .* multiples of 32 .*--image-size 64 96'
    ):
        choose_size(DIVISIBLE, (60, 96))
