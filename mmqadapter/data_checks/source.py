"""Find the data sets of a config, through wrappers, and build them without reading their data."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from mmqadapter.engine.data_configs import leaf_configs, require_root

SPLITS = ('train', 'val')


@dataclass(frozen=True)
class Source:
    """A data set as built from the config (not loaded), and what its pipeline asks of it.

    Attributes:
        split: ``'train'``, ``'val'``; numbered where a loader holds several data sets.
        dataset: The mmseg or mmdet data set: paths joined, class names and label map resolved.
        needs_masks: The pipeline loads instance masks.
    """

    split: str
    dataset: Any
    needs_masks: bool

    def place(self, path: str) -> str:
        """Name a file in a report: the split, and the path below the data root."""
        root = self.dataset.data_root
        return f'{self.split}: {osp.relpath(path, root) if root else path}'


def find_sources(cfg: Config) -> list[Source]:
    """Build, lazily, every data set below ``train_dataloader`` and ``val_dataloader``.

    Raises:
        FileNotFoundError: a data root does not exist.
        ValueError: the config has no data set, or one that cannot be built.
    """
    sources = [source for split in SPLITS for source in _split_sources(cfg, split)]
    if not sources:
        raise ValueError(
            'The config has neither train_dataloader.dataset nor val_dataloader.dataset; '
            'inherit a data set file such as configs/_base_/datasets/custom_semantic.py.'
        )
    return sources


def class_names(dataset: Any) -> tuple[str, ...]:
    """Class names of a built data set, in the order of the labels.

    Raises:
        ValueError: there are none, or a single string stands where a list belongs.
    """
    classes = dataset.metainfo.get('classes')
    if not classes or not isinstance(classes, (list, tuple)):
        raise ValueError(
            f'metainfo.classes is {classes!r}; give a tuple of names, a single one with a comma: '
            '("name",)'
        )
    return tuple(classes)


def set_data_root(cfg: Config, root: str) -> None:
    """Point every train and val data set of the config at another root, in place."""
    for split in SPLITS:
        for leaf, _ in _split_leaves(cfg, split):
            leaf['data_root'] = root


def _split_leaves(cfg: Config, split: str) -> list[tuple[dict, str | None]]:
    loader = cfg.get(f'{split}_dataloader') or {}
    if not loader.get('dataset'):
        return []
    return list(leaf_configs(loader['dataset'], loader.get('_scope_', cfg.get('default_scope'))))


def _split_sources(cfg: Config, split: str) -> Iterator[Source]:
    leaves = _split_leaves(cfg, split)
    for number, (leaf, scope) in enumerate(leaves):
        name = split if len(leaves) == 1 else f'{split}[{number}]'
        require_root(leaf, name)
        masks = any(step.get('with_mask', False) for step in leaf.get('pipeline') or ())
        yield Source(name, _build(leaf, scope, name), masks)


def _build(leaf: dict, scope: str | None, split: str) -> Any:
    """Build without pipeline and without loading: paths, suffixes and classes are then resolved."""
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return DATASETS.build(dict(leaf, lazy_init=True, pipeline=[]))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'The {split} data set of type {leaf.get("type")!r} cannot be built: {error}'
        ) from error
