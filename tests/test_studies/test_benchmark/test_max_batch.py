from __future__ import annotations

import pytest

from mmqadapter.compat.torch_names import OutOfMemoryError
from mmqadapter.studies.benchmark.max_batch import largest_batch, least_batch
from mmqadapter.studies.report.settings import parse_bytes


@pytest.mark.parametrize('limit', [0, 99, 100, 101, 150, 1000, 1234, 99_999])
def test_the_largest_batch_within_a_linear_cost(limit: int) -> None:
    assert largest_batch(lambda batch: 90 + 10 * batch, limit) == max((limit - 90) // 10, 0) or 1024


def test_no_batch_is_tried_twice() -> None:
    tried: list[int] = []
    assert largest_batch(lambda batch: tried.append(batch) or batch, 21) == 21
    assert len(tried) == len(set(tried))


def test_a_batch_that_runs_out_of_memory_is_too_large() -> None:
    def needed(batch: int) -> int:
        if batch > 5:
            raise OutOfMemoryError('no')
        return 1

    assert largest_batch(needed, 10) == 5


def test_a_model_that_needs_two_images_starts_at_two() -> None:
    def needed(batch: int) -> int:
        if batch == 1:
            raise ValueError('Expected more than 1 value per channel when training')
        return batch

    assert least_batch(needed) == 2 and least_batch(lambda batch: batch) == 1
    assert [largest_batch(needed, limit, least=2) for limit in (1, 2, 3, 9)] == [0, 2, 3, 9]


def test_other_errors_are_raised() -> None:
    def needed(batch: int) -> int:
        raise RuntimeError('shapes do not fit')

    with pytest.raises(RuntimeError, match='shapes'):
        largest_batch(needed, 10)
    with pytest.raises(RuntimeError, match='shapes'):
        least_batch(needed)


@pytest.mark.parametrize('ceiling', [1, 7, 8])
def test_the_search_stops_at_the_ceiling(ceiling: int) -> None:
    tried: list[int] = []
    assert largest_batch(lambda batch: tried.append(batch) or 0, 1, ceiling) == ceiling
    assert max(tried) <= ceiling


def test_units_of_sizes() -> None:
    sizes = [parse_bytes(text) for text in ('11GB', '1.5 GiB', '200mb', '8000000000')]
    assert sizes == [11 * 10**9, 3 * 2**29, 2 * 10**8, 8 * 10**9]


@pytest.mark.parametrize('text', ['', 'GB', '-1GB', '3 apples', '1.2.3', '0', '11', '1024'])
def test_invalid_sizes_are_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=f'memory={text!r} is invalid: expected a size such as 11GB'
    ):
        parse_bytes(text)
