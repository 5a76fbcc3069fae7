"""Training data that depends only on seed, epoch, position and index.

mmengine seeds the data workers once, so what a worker draws depends on everything it drew before,
and a resumed run draws other numbers. Here the sampler stamps every index with its position in the
run, and the dataset draws from generators that this stamp seeds.
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
    """Sample index that carries ``stamp = (seed, epoch, position)``, also through pickling."""

    stamp: tuple[int, int, int] | None

    def __new__(cls, index: int, stamp: tuple[int, int, int] | None = None) -> StampedIndex:
        """Make an ordinary integer and attach the stamp."""
        self = super().__new__(cls, index)
        self.stamp = stamp
        return self


@DATA_SAMPLERS.register_module()
class StampedSampler(Sampler):
    """Wrapper of a sampler that stamps its indices and keeps their order.

    Positions count over all ranks, so no two ranks share a stamp.

    Args:
        dataset: Dataset to sample from.
        sampler: Config of the wrapped sampler, such as
            ``dict(type='InfiniteSampler', shuffle=True)``; it gets the same dataset and seed.
        seed: Seed of order and stamps, equal on all ranks; if None, one is drawn and shared.
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
        # An endless sampler continues where it stopped, a finite one starts again.
        for position, index in enumerate(self.sampler, self._consumed if self._endless else 0):
            self._consumed = position + 1
            global_position = position * self.world_size + self.rank
            yield StampedIndex(index, (self.seed, epoch, global_position))

    def __len__(self) -> int:
        """Return the number of samples of this rank, as the wrapped sampler counts them."""
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        """Provide ``skip`` if the wrapped sampler does, since mmengine checks for it."""
        if name == 'skip' and hasattr(self.__dict__.get('sampler'), 'skip'):
            return self._skip
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that order and stamps depend on."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def _skip(self, num_samples: int) -> None:
        """Go to an absolute position, in samples of this rank, without loading any."""
        self.sampler.skip(num_samples)
        self._consumed = num_samples


@DATASETS.register_module()
class SeededDataset:
    """Wrapper of a dataset whose random transforms depend only on the stamp of an index.

    Python's, NumPy's and PyTorch's CPU generators are seeded for each sample and restored after
    it. So loading does not disturb dropout or other samples, and any number of workers yields the
    same samples. An index without a stamp, as in validation, is passed on unchanged. Transforms
    with a generator of their own are not covered. All other attributes are those of the wrapped
    dataset.

    Args:
        dataset: The dataset or its config.

    Raises:
        ValueError: The dataset holds no image.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = _build_dataset(dataset) if isinstance(dataset, dict) else dataset

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Return sample ``index``, with random transforms that its stamp seeds."""
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
        """Return the annotations of sample ``index``, without the stamp."""
        return self.dataset.get_data_info(int(index))

    @property
    def pipeline(self) -> Any:
        """The wrapped dataset's transforms; hooks that switch pipelines assign them here."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        self.dataset.pipeline = pipeline


def exactly_resumable(cfg: Config) -> Config:
    """Return a copy of ``cfg`` whose training can resume exactly; a second call changes nothing.

    The train dataset and its sampler are wrapped; a batch sampler stays. If the config sets no
    seed, the seed is 0: mmengine would draw one, and a resumed run would draw another before it
    reads the checkpoint.
    """
    cfg = copy.deepcopy(cfg)
    loader = cfg.get('train_dataloader')
    if loader:
        _wrap(loader, 'dataset', SeededDataset)
        _wrap(loader, 'sampler', StampedSampler)
    randomness = cfg.get('randomness') or {}
    if randomness.get('seed') is None:
        cfg.randomness = {**randomness, 'seed': 0}
    return cfg


def _build_dataset(cfg: dict) -> Any:
    try:
        return root.DATASETS.build(cfg)
    except ValueError as error:
        # NumPy's message for the empty list in which mmengine collects the samples.
        if 'need at least one array' not in str(error):
            raise
        raise ValueError(
            f'the training data holds no image (data_root {cfg.get("data_root")!r}, data_prefix '
            f'{cfg.get("data_prefix")!r}); mmqadapter check-data says what is wrong.'
        ) from error


def _wrap(loader: dict, key: str, wrapper: type) -> None:
    """Wrap the config ``loader[key]`` in ``wrapper``, unless it is wrapped already."""
    kind = f'mmqadapter.{wrapper.__name__}'
    if loader[key]['type'] not in (kind, wrapper):
        loader[key] = {'type': kind, key: loader[key]}
