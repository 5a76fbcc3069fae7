"""A batch that is larger than the training data is reported, whatever the samplers and datasets."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mmdet.datasets.samplers import AspectRatioBatchSampler, MultiSourceSampler
from mmengine.dataset import (
    BaseDataset,
    ConcatDataset,
    DefaultSampler,
    InfiniteSampler,
    RepeatDataset,
)
from torch.utils.data import DataLoader

from mmqadapter.engine import batch_sizes
from mmqadapter.engine.batch_sizes import batch_warning
from mmqadapter.engine.seeded_data import StampedSampler


class Images(BaseDataset):
    """Four images."""

    def load_data_list(self) -> list[dict]:
        return [{} for _ in range(4)]


def endless(data: Any, batch: int) -> DataLoader:
    return DataLoader(data, batch, sampler=InfiniteSampler(data, seed=0))


def stamped(data: Any, batch: int) -> DataLoader:
    sampler = StampedSampler(data, dict(type='InfiniteSampler'), seed=0)
    return DataLoader(data, batch, sampler=sampler)


def by_aspect(data: Any, batch: int) -> DataLoader:
    sampler = AspectRatioBatchSampler(InfiniteSampler(data, seed=0), batch)
    return DataLoader(data, batch_sampler=sampler)


def of_sources(data: Any, batch: int) -> DataLoader:
    return DataLoader(data, batch, sampler=MultiSourceSampler(data, batch, [1, 1], seed=0))


def epoch(data: Any, batch: int, drop_last: bool = False) -> DataLoader:
    return DataLoader(data, batch, sampler=DefaultSampler(data, seed=0), drop_last=drop_last)


TWO = ConcatDataset([Images(), Images()])
TWICE = RepeatDataset(Images(), times=2)
SHAPES = [
    (endless, Images(), 4), (stamped, Images(), 4), (by_aspect, Images(), 4),
    (of_sources, TWO, 8), (endless, TWO, 8), (endless, TWICE, 8), (epoch, TWO, 8),
]  # fmt: skip


@pytest.mark.parametrize(('build', 'data', 'images'), SHAPES)
def test_only_a_batch_of_more_images_than_the_sampler_sees_is_reported(build, data, images) -> None:
    assert batch_warning(build(data, images)) is None
    expected = f'batch_size={images + 1} is more than the {images} images.*at most {images}.$'
    assert re.search(expected, batch_warning(build(data, images + 1)))


@pytest.mark.parametrize(('build', 'data', 'images'), SHAPES[:-1])
def test_a_batch_that_repeats_images_without_end_is_refused(build, data, images) -> None:
    assert batch_warning(build(data, 100 * images))
    with pytest.raises(ValueError, match=f'the {images} images.*many times: set it to at most'):
        batch_warning(build(data, 100 * images + 1))


def test_an_epoch_without_a_batch_is_refused() -> None:
    assert 'an epoch is one batch' in str(batch_warning(epoch(Images(), 10**6)))
    with pytest.raises(ValueError, match='drop_last=True leaves no batch: set it to at most 4'):
        batch_warning(epoch(Images(), 5, drop_last=True))


def test_the_batches_of_all_processes_count(monkeypatch) -> None:
    monkeypatch.setattr(batch_sizes, 'get_world_size', lambda: 2)
    assert batch_warning(endless(Images(), 2)) is None
    expected = r'batch_size=3 on 2 processes is more than the 4 images.*at most 2\.$'
    assert re.search(expected, batch_warning(endless(Images(), 3)))
