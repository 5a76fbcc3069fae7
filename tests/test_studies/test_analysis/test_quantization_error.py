from __future__ import annotations

import pytest
import torch

from mmqadapter.quant import BITS, CRITERIA
from mmqadapter.studies.analysis.error import (
    Setting,
    can_quantize,
    gaussian_error,
    quantized,
    relative_error,
    settings,
    stored_bytes,
)

GENERATOR = torch.Generator().manual_seed(0)
WEIGHTS = {
    'down': 0.02 * torch.randn(400, 600, generator=GENERATOR),
    'up': 0.3 * torch.randn(600, 400, generator=GENERATOR),
}


def error_of(bits: int, criterion: str = 'l1', granularity: str = 'tensor') -> float:
    return relative_error(WEIGHTS, quantized(WEIGHTS, Setting(bits, criterion, granularity)))


@pytest.mark.parametrize(
    ('bits', 'criterion', 'expected'),
    [(1, 'l1', 0.3786), (2, 'l1', 0.1290), (4, 'l1', 0.0118), (8, 'l1', 6.4e-5), (1, 'l2', 0.3634)],
)
def test_error_of_a_gaussian(bits: int, criterion: str, expected: float) -> None:
    assert gaussian_error(bits, criterion) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize('criterion', CRITERIA)
def test_error_falls_with_bits_and_is_that_of_a_gaussian(criterion: str) -> None:
    errors = [error_of(bits, criterion) for bits in BITS]
    assert errors == sorted(errors, reverse=True)
    for bits, error in zip(BITS, errors, strict=True):
        # At 8 bits a few weights beyond the outermost level cause most of the error.
        tolerance = 0.02 if bits < 8 else 0.5
        assert error == pytest.approx(gaussian_error(bits, criterion), rel=tolerance)


def test_l2_criterion_has_the_smaller_squared_error() -> None:
    for bits in BITS:
        assert error_of(bits, 'l2') < error_of(bits, 'l1')


def test_deviation_per_channel_helps_if_channels_differ() -> None:
    weight = {'up': torch.randn(64, 200) * torch.logspace(-3, 0, 64)[:, None]}
    by_tensor, by_channel = (
        relative_error(weight, quantized(weight, Setting(2, 'l2', g)))
        for g in ('tensor', 'channel')
    )
    assert by_channel < 0.7 * by_tensor


def test_bytes_are_those_of_codes_and_statistics() -> None:
    count = 2 * 400 * 600
    assert stored_bytes(WEIGHTS, Setting(1)) == count // 8 + 2 * 8
    assert stored_bytes(WEIGHTS, Setting(4, granularity='channel')) == count // 2 + 8 * (400 + 600)


def test_single_weight_per_output_cannot_be_quantized_per_channel() -> None:
    narrow = {'up': torch.randn(16, 1)}
    assert can_quantize(narrow, Setting(1)) and not can_quantize(
        narrow, Setting(1, granularity='channel')
    )
    with pytest.raises(ValueError, match='two or more weights per output'):
        quantized(narrow, Setting(1, granularity='channel'))


def test_all_combinations_of_settings_are_valid() -> None:
    assert len(settings()) == len(set(settings())) == 16
    with pytest.raises(ValueError, match='bits=3'):
        settings(bits=[1, 3])
    with pytest.raises(ValueError, match="granularity='row'"):
        settings(granularities=['row'])
