"""A few batches of a config's data, the same each time."""

from __future__ import annotations

import copy
from itertools import islice
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmqadapter.engine.data_configs import leaf_configs
from mmqadapter.engine.runner import require_data
from mmqadapter.utils.random_state import seeded

SPLITS = ('train', 'val')
Batch = dict[str, Any]


def fixed_batches(
    cfg: Config, split: str = 'train', count: int = 4, batch_size: int = 0, seed: int = 0
) -> list[Batch]:
    """Batches with ground truth, before preprocessing; ``seed`` fixes choice and augmentation.

    The images of ``'val'`` go through the training pipeline too: a test pipeline may leave boxes
    and labels at the size of the original image, where a loss means nothing.

    Args:
        cfg: A config of mmdet or mmseg.
        split: ``'train'`` or ``'val'``.
        count: How many batches.
        batch_size: Images in each; 0 for the config's.
        seed: Of 0 or more.

    Raises:
        FileNotFoundError: The data are not there.
        ValueError: Another split, or too little data.
    """
    if split not in SPLITS:
        raise ValueError(f'split={split!r} is unknown; use one of {SPLITS}.')
    for name, value, least in (('batches', count, 1), ('batch_size', batch_size, 0)):
        if value < least:
            raise ValueError(f'{name}={value} is too small; use {least} or more.')
    require_data(cfg, split)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    loader = copy.deepcopy(cfg.train_dataloader)
    loader.update(dataset=_dataset(cfg, split), num_workers=0, persistent_workers=False)
    loader.update(batch_size=batch_size or loader.batch_size)
    loader.pop('prefetch_factor', None)
    with seeded(seed):
        batches = list(islice(Runner.build_dataloader(loader, seed=seed), count))
    if len(batches) < count:
        raise ValueError(
            f'the {split} data give {len(batches)} batches, not {count}; ask for less.'
        )
    return batches


def _dataset(cfg: Config, split: str) -> dict[str, Any]:
    trained = copy.deepcopy(cfg.train_dataloader.dataset)
    if split == 'train':
        return trained
    leaf, _ = next(leaf_configs(trained))
    if not str(leaf['pipeline'][-1]['type']).split('.')[-1].startswith('Pack'):
        raise ValueError(
            'the training transforms of a data set end in a wrapper around it and cannot be used '
            'for the validation images; use split="train".'
        )
    dataset = copy.deepcopy(cfg.val_dataloader.dataset)
    for own, _ in leaf_configs(dataset):
        own.update(pipeline=leaf['pipeline'], test_mode=False, filter_cfg=leaf.get('filter_cfg'))
    return dataset
