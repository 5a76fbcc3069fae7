"""Reproducible batches of a config's data."""

from __future__ import annotations

import copy
from itertools import islice
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmqadapter.engine.checked_pipeline import checked_dataloader
from mmqadapter.engine.data_configs import leaf_configs
from mmqadapter.engine.runner import require_data
from mmqadapter.utils.random_state import seeded

SPLITS = ('train', 'val')
Batch = dict[str, Any]


def fixed_batches(
    cfg: Config, split: str = 'train', count: int = 4, batch_size: int = 0, seed: int = 0
) -> list[Batch]:
    """Return batches with ground truth, before preprocessing.

    ``seed`` determines the images and their augmentation. Images of ``'val'`` also go through the
    training pipeline: a test pipeline may leave boxes and labels at the size of the original
    image, which makes the loss meaningless.

    Args:
        cfg: A config of mmdet or mmseg.
        split: ``'train'`` or ``'val'``.
        count: Number of batches.
        batch_size: Images per batch; 0 for the batch size of the config.
        seed: Seed, 0 or more.

    Raises:
        FileNotFoundError: The data do not exist.
        ValueError: An argument is invalid, or the data set is too small.
    """
    if split not in SPLITS:
        raise ValueError(f'split={split!r} is invalid: expected one of {SPLITS}.')
    for name, value, low in (('batches', count, 1), ('batch_size', batch_size, 0)):
        if value < low:
            raise ValueError(f'{name}={value} is invalid: expected {low} or more.')
    require_data(cfg, split)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    loader = copy.deepcopy(cfg.train_dataloader)
    loader.update(dataset=_dataset(cfg, split), num_workers=0, persistent_workers=False)
    loader.update(batch_size=batch_size or loader.batch_size)
    loader.pop('prefetch_factor', None)
    with seeded(seed):
        batches = list(
            islice(checked_dataloader(Runner.build_dataloader, loader, seed=seed), count)
        )
    if len(batches) < count:
        raise ValueError(
            f'batches={count} is invalid: the {split} data have only {len(batches)}; ask for fewer.'
        )
    return batches


def _dataset(cfg: Config, split: str) -> dict[str, Any]:
    train_set = copy.deepcopy(cfg.train_dataloader.dataset)
    if split == 'train':
        return train_set
    train_leaf, _ = next(leaf_configs(train_set))
    if not str(train_leaf['pipeline'][-1]['type']).split('.')[-1].startswith('Pack'):
        raise ValueError(
            'the training transforms end in a wrapper around the data set and cannot be applied to '
            'the validation images; use split="train".'
        )
    dataset = copy.deepcopy(cfg.val_dataloader.dataset)
    for leaf, _ in leaf_configs(dataset):
        leaf.update(
            pipeline=train_leaf['pipeline'],
            test_mode=False,
            filter_cfg=train_leaf.get('filter_cfg'),
        )
    return dataset
