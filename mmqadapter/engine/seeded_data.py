"""Data whose order and augmentation follow from seed, epoch, position and index alone.

mmengine seeds the data workers once, so what a worker draws depends on all it drew before, and a
resumed run draws something else. Here the sampler stamps every index with its place in the run,
and the dataset draws from generators seeded by that stamp.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mmengine import Config
from mmengine import registry as root
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmqadapter.registry import DATA_SAMPLERS, DATASETS
from mmqadapter.utils.random_state import seeded


class StampedIndex(int):
    """A sample index that carries ``stamp = (seed, epoch, position)``, also through pickling."""

    stamp: tuple[int, int, int] | None

    def __new__(cls, index: int, stamp: tuple[int, int, int] | None = None) -> StampedIndex:
        """Make an ordinary integer and attach the stamp."""
        self = super().__new__(cls, index)
        self.stamp = stamp
        return self


@DATA_SAMPLERS.register_module()
class StampedSampler(Sampler):
    """Wraps any sampler and stamps its indices; the order stays the wrapped sampler's.

    Positions count over all ranks, so no two ranks share a stamp.

    Args:
        dataset: the dataset to sample from.
        sampler: config of the sampler, such as ``dict(type='InfiniteSampler', shuffle=True)``;
            it gets the same dataset and seed.
        seed: seed of order and stamps, equal on all ranks; drawn and shared when None.
    """

    def __init__(self, dataset: Any, sampler: dict, seed: int | None = None) -> None:
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        self.sampler = root.DATA_SAMPLERS.build(
            sampler, default_args=dict(dataset=dataset, seed=self.seed)
        )
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0
        self._endless = isinstance(self.sampler, InfiniteSampler) or hasattr(self.sampler, 'skip')
        self._consumed = 0

    def __iter__(self) -> Iterator[StampedIndex]:
        """Yield the wrapped sampler's indices, stamped."""
        epoch = self.epoch
        # An endless sampler goes on where it stopped, a finite one begins again.
        for position, index in enumerate(self.sampler, self._consumed if self._endless else 0):
            self._consumed = position + 1
            place = position * self.world_size + self.rank
            yield StampedIndex(index, (self.seed, epoch, place))

    def __len__(self) -> int:
        """Samples of this rank, as the wrapped sampler counts them."""
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        """Offer ``skip`` exactly where the wrapped sampler does: mmengine looks for it."""
        if name == 'skip' and hasattr(self.__dict__.get('sampler'), 'skip'):
            return self._skip
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that order and stamps depend on."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def _skip(self, num_samples: int) -> None:
        """Go to an absolute position, counted in samples of this rank, without loading any."""
        self.sampler.skip(num_samples)
        self._consumed = num_samples


@DATASETS.register_module()
class SeededDataset:
    """Wraps any dataset; a stamped index alone decides what its random transforms draw.

    python's, numpy's and torch's CPU generators are seeded for the one sample and put back, so
    loading disturbs neither dropout nor other samples, and 0 or more workers give equal samples.
    A plain index, as in validation, reaches the wrapped dataset untouched. Transforms that keep a
    generator of their own are beyond reach. Everything else is the wrapped dataset's.

    Args:
        dataset: the dataset or its config.

    Raises:
        ValueError: it holds no image.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = _built(dataset) if isinstance(dataset, dict) else dataset

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Sample ``index``, drawn as its stamp decides."""
        stamp = getattr(index, 'stamp', None)
        if stamp is None:
            return self.dataset[index]
        with seeded(*stamp, int(index)):
            return self.dataset[int(index)]

    def __getattr__(self, name: str) -> Any:
        """Read what is not defined here (metainfo, full_init, ...) from the wrapped dataset."""
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')
        return getattr(self.dataset, name)

    def get_data_info(self, index: int) -> dict:
        """Annotations of sample ``index``, without the stamp."""
        return self.dataset.get_data_info(int(index))

    @property
    def pipeline(self) -> Any:
        """The wrapped dataset's transforms; hooks that switch pipelines assign them here."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        self.dataset.pipeline = pipeline


def exactly_resumable(cfg: Config) -> Config:
    """A copy of ``cfg`` whose training data can be continued exactly; wrapping twice is harmless.

    The train dataset and its sampler are wrapped, a batch sampler stays. Without a seed the seed
    is 0: mmengine would draw one, and a resumed run another, before it sees the checkpoint.
    """
    cfg = copy.deepcopy(cfg)
    loader = cfg.get('train_dataloader')
    if loader:
        _wrap(loader, 'dataset', SeededDataset)
        _wrap(loader, 'sampler', StampedSampler)
    chosen = cfg.get('randomness') or {}
    if chosen.get('seed') is None:
        cfg.randomness = {**chosen, 'seed': 0}
    return cfg


def _built(cfg: dict) -> Any:
    try:
        return root.DATASETS.build(cfg)
    except ValueError as error:
        if 'need at least one array' not in str(error):  # numpy's words, of mmengine's lists
            raise
        raise ValueError(
            f'the training data holds no image (data_root {cfg.get("data_root")!r}, data_prefix '
            f'{cfg.get("data_prefix")!r}); tools/check_data.py says what is wrong with it.'
        ) from error


def _wrap(loader: dict, key: str, wrapper: type) -> None:
    """Put ``wrapper`` around the config ``loader[key]`` unless it is there already."""
    kind = f'mmqadapter.{wrapper.__name__}'
    if loader[key]['type'] not in (kind, wrapper):
        loader[key] = {'type': kind, key: loader[key]}
