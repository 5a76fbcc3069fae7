"""Check of the batch size of a training against the number of its images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.runner import FlexibleRunner, Runner
from torch.utils.data import DataLoader

# Samplers without an end, by class: they fill any batch, with each image many times.
ENDLESS = ('InfiniteSampler', 'MultiSourceSampler')
TOO_OFTEN = 100  # times in a batch; some times are usual in a trial with a few images


def check_batches_of(runner: Runner | FlexibleRunner, train: Any) -> None:
    """Let a runner check the batch size of its training when it builds the data loader.

    Args:
        runner: Runner that has not built its data loaders yet; changed in place.
        train: Config of the data loader of the training.
    """
    runner.build_dataloader = partial(_checked, runner.build_dataloader, train, runner.logger)


def _checked(
    build: Callable[..., DataLoader], train: Any, logger: MMLogger, config: Any, **kwargs: Any
) -> DataLoader:
    loader = build(config, **kwargs)
    if config == train and (message := batch_warning(loader)):
        logger.warning(message)
    return loader


def batch_warning(loader: DataLoader) -> str | None:
    """Return a warning if a batch has more images than the data; None if it has not.

    The images are those that the sampler sees: of all joined datasets, and of each repetition.

    Raises:
        ValueError: The images give no batch, or each would be in a batch more than 100 times.
    """
    dataset: Any = loader.dataset
    images, batch = len(dataset), getattr(loader.batch_sampler, 'batch_size', None)
    total = batch * get_world_size() if isinstance(batch, int) else 0
    if total <= images:
        return None
    problem = f'train_dataloader.batch_size={batch}'
    if get_world_size() > 1:
        problem += f' on {get_world_size()} processes'
    problem += f' is more than the {images} images of the training data'
    remedy = f'set it to at most {max(images // get_world_size(), 1)}.'
    if not _is_endless(loader.batch_sampler):
        if not len(loader):
            raise ValueError(f'{problem}, so that drop_last=True leaves no batch: {remedy}')
        return f'{problem}: an epoch is one batch, of fewer images; {remedy}'
    if total > TOO_OFTEN * images:
        raise ValueError(f'{problem}, each of which would be in a batch many times: {remedy}')
    return f'{problem}: a batch holds images several times; {remedy}'


def _is_endless(sampler: Any) -> bool:
    """Return whether a sampler is endless, also one within the sampler that stamps its indices."""
    if any(kind.__name__ in ENDLESS for kind in type(sampler).__mro__):
        return True
    inner = getattr(sampler, 'sampler', None)
    return inner is not None and _is_endless(inner)
