"""Order and augmentation depend only on seed, epoch, position and index."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.dataset import BaseDataset, RepeatDataset
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch.utils.data import BatchSampler

from mmqadapter.engine import SeededDataset, StampedIndex, StampedSampler, exactly_resumable
from mmqadapter.utils.random_state import get_random_state


def noise(results: dict) -> dict:
    """A transform that draws from all three generators."""
    values = (random.random(), float(np.random.rand()), float(torch.rand(())))
    return dict(results, noise=values)


@DATASETS.register_module(force=True)
class SeededToy(BaseDataset):
    """Six samples, tall and wide ones in turn."""

    METAINFO = dict(classes=('a', 'b'))

    def load_data_list(self) -> list[dict]:
        return [dict(number=i, width=1 + i % 2, height=2 - i % 2) for i in range(6)]


def toy() -> SeededDataset:
    return SeededDataset(SeededToy(pipeline=[noise]))


def sampler(kind: str = 'DefaultSampler', **kwargs) -> StampedSampler:
    return StampedSampler(toy(), dict(type=kind, shuffle=True), **{'seed': 3, **kwargs})


def take(iterable, count):
    return [(int(i), i.stamp) for i, _ in zip(iterable, range(count), strict=False)]


def test_stamped_index_is_an_integer_and_survives_pickling():
    index = pickle.loads(pickle.dumps(StampedIndex(5, (1, 2, 3))))
    assert index == 5
    assert [10, 11, 12, 13, 14, 15][index] == 15
    assert index.stamp == (1, 2, 3)


def test_sample_depends_on_its_stamp_alone():
    data = toy()
    state = get_random_state()
    first = data[StampedIndex(1, (0, 0, 4))]['noise']
    assert get_random_state()['python'] == state['python']
    assert torch.equal(get_random_state()['torch'], state['torch'])
    assert get_random_state()['numpy'] == state['numpy']
    random.random(), np.random.rand(), torch.rand(1)
    assert data[StampedIndex(1, (0, 0, 4))]['noise'] == first
    for other in ((1, 0, 4), (0, 1, 4), (0, 0, 5)):
        assert data[StampedIndex(1, other)]['noise'] != first
    assert data[StampedIndex(2, (0, 0, 4))]['noise'] != first
    assert data[1]['noise'] != data[1]['noise']


def test_generators_are_restored_after_an_error():
    data = SeededDataset([])
    before = random.getstate()
    with pytest.raises(IndexError):
        data[StampedIndex(0, (0, 0, 0))]
    assert random.getstate() == before


def test_dataset_forwards_all_other_attributes():
    data = pickle.loads(pickle.dumps(toy()))
    assert len(data) == 6
    assert data.metainfo['classes'] == ('a', 'b')
    info = data.get_data_info(StampedIndex(2, (0, 0, 0)))
    assert type(info['sample_idx']) is int
    data.full_init()
    data.pipeline = lambda results: 'switched'
    assert data[0] == 'switched'
    assert not hasattr(data, '__getitems__')
    assert not hasattr(SeededDataset([1, 2]), 'metainfo')


def test_finite_sampler_starts_again_and_follows_the_epoch():
    stamped = sampler()
    assert len(stamped) == 6
    stamped.set_epoch(0)
    first = take(stamped, 99)
    assert [place for _, place in first] == [(3, 0, i) for i in range(6)]
    assert take(stamped, 99) == first
    stamped.set_epoch(1)
    second = take(stamped, 99)
    assert second[0][1] == (3, 1, 0)
    assert [i for i, _ in second] != [i for i, _ in first]
    assert not hasattr(stamped, 'skip')


def test_endless_sampler_continues_and_skips():
    whole = take(sampler('InfiniteSampler'), 20)
    assert [place for _, place in whole] == [(3, 0, i) for i in range(20)]
    stamped = sampler('InfiniteSampler')
    if not hasattr(stamped.sampler, 'skip'):
        pytest.skip('this mmengine has no InfiniteSampler.skip')
    stamped.skip(13)
    assert take(stamped, 7) == whole[13:]


def test_ranks_never_share_a_stamp(monkeypatch):
    positions = []
    for rank in range(2):
        for module in ('mmqadapter.engine.seeded_data', 'mmengine.dataset.sampler'):
            monkeypatch.setattr(f'{module}.get_dist_info', lambda rank=rank: (rank, 2))
        positions.append([place for _, place in take(sampler(), 99)])
    assert positions == [[(3, 0, i) for i in range(r, 6, 2)] for r in range(2)]


def test_a_seed_is_drawn_when_none_is_given():
    stamped = sampler(seed=None)
    assert stamped.seed == stamped.sampler.seed


def test_batch_sampler_by_aspect_ratio():
    samplers = pytest.importorskip('mmdet.datasets.samplers.batch_sampler')
    for batch in samplers.AspectRatioBatchSampler(sampler(), batch_size=3):
        assert len({index % 2 for index in batch}) == 1
        assert all(index.stamp for index in batch)


def loader(dataset: dict, **kwargs) -> dict:
    return dict(dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=True), **kwargs)


@pytest.mark.parametrize('workers', [0, 2])
def test_data_loader_yields_the_same_samples(workers):
    data = loader(dict(type='SeededToy', pipeline=[noise]), batch_size=2, num_workers=workers)
    cfg = exactly_resumable(Config(dict(train_dataloader=data)))
    built = Runner.build_dataloader(cfg.train_dataloader, seed=3)
    samples = [values for batch in built for values in zip(*batch['noise'], strict=True)]
    data = toy()
    expected = [data[index]['noise'] for index in sampler()]
    assert [tuple(float(v) for v in values) for values in samples] == expected


def test_exactly_resumable_wraps_once_and_copies():
    data = loader(dict(type='RepeatDataset', times=2, dataset=dict(type='SeededToy')))
    data.update(batch_size=2, batch_sampler=dict(type='mmdet.AspectRatioBatchSampler'))
    cfg = Config(dict(train_dataloader=data, val_dataloader=None))
    wrapped = exactly_resumable(cfg)
    assert cfg.train_dataloader.dataset.type == 'RepeatDataset'
    train = wrapped.train_dataloader
    assert train.dataset.type == 'mmqadapter.SeededDataset'
    assert train.sampler.type == 'mmqadapter.StampedSampler'
    assert train.sampler.sampler.type == 'DefaultSampler'
    assert train.batch_sampler.type == 'mmdet.AspectRatioBatchSampler'
    assert wrapped.randomness.seed == 0
    assert exactly_resumable(wrapped).to_dict() == wrapped.to_dict()
    assert Config.fromstring(wrapped.pretty_text, '.py').to_dict() == wrapped.to_dict()
    assert isinstance(DATASETS.build(train.dataset).dataset, RepeatDataset)


def test_exactly_resumable_keeps_a_seed_and_needs_no_training_data():
    cfg = exactly_resumable(Config(dict(randomness=dict(seed=5, deterministic=True))))
    assert cfg.randomness == dict(seed=5, deterministic=True)


def test_stamps_pass_through_the_standard_batch_sampler():
    batches = list(BatchSampler(sampler(), 4, drop_last=False))
    assert [len(batch) for batch in batches] == [4, 2]
    assert batches[1][1].stamp == (3, 0, 5)
