"""Finding of the datasets of a config, also in wrappers; built without reading their data."""

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
    """Dataset as built from the config, not loaded.

    Attributes:
        split: ``'train'`` or ``'val'``, with a number if a loader has several datasets.
        dataset: The mmseg or mmdet dataset: paths joined, class names and label map resolved.
        needs_masks: Whether its pipeline loads instance masks.
    """

    split: str
    dataset: Any
    needs_masks: bool

    def place(self, path: str) -> str:
        """Return the name of a file in a report: the split, and the path below the data root."""
        root = self.dataset.data_root
        return f'{self.split}: {osp.relpath(path, root) if root else path}'


def find_sources(cfg: Config) -> list[Source]:
    """Build, without loading it, every dataset of ``train_dataloader`` and ``val_dataloader``.

    Raises:
        FileNotFoundError: A data root does not exist.
        ValueError: The config has no dataset, or one that cannot be built.
    """
    sources = [source for split in SPLITS for source in _split_sources(cfg, split)]
    if not sources:
        raise ValueError(
            'The config has neither train_dataloader.dataset nor val_dataloader.dataset; '
            'inherit a dataset file such as mmqadapter::_base_/datasets/custom_semantic.py.'
        )
    return sources


def class_names(dataset: Any) -> tuple[str, ...]:
    """Return the class names of a built dataset, in the order of the labels.

    Raises:
        ValueError: There are none, or a single string in place of a list.
    """
    classes = dataset.metainfo.get('classes')
    if not classes or not isinstance(classes, (list, tuple)):
        raise ValueError(
            f'metainfo.classes={classes!r} is invalid: give a tuple of names, a single one with a '
            'comma: ("name",)'
        )
    return tuple(classes)


def set_data_root(cfg: Config, root: str) -> None:
    """Set the root of every train and val dataset of the config, in place."""
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
    """Build without pipeline and without loading, which resolves paths, suffixes and classes."""
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return DATASETS.build(dict(leaf, lazy_init=True, pipeline=[]))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'The {split} dataset of type {leaf.get("type")!r} cannot be built: {error}'
        ) from error
