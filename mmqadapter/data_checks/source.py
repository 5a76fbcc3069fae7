"""Finding of the datasets of a config, also in wrappers; built without reading their data."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from mmqadapter.data_checks.loader import SampleLoader
from mmqadapter.engine.data_classes import BUILD_ERRORS, build_unloaded, class_list_fault
from mmqadapter.engine.data_configs import leaf_configs, require_root

SPLITS = ('train', 'val')


@dataclass(frozen=True)
class Source:
    """Dataset as built from the config, not loaded.

    Attributes:
        split: ``'train'`` or ``'val'``, with a number if a loader has several datasets.
        dataset: The mmseg or mmdet dataset: paths joined, class names and label map resolved.
        needs_masks: Whether its pipeline loads instance masks.
        loader: Loader of its images and label maps, as its pipeline loads them.
        channels: Number of channels of an image that the model expects; None if it is not known.
    """

    split: str
    dataset: Any
    needs_masks: bool
    loader: SampleLoader
    channels: int | None = None

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
        ValueError: They are not a list of different names.
    """
    classes = dataset.metainfo.get('classes')
    fault = class_list_fault(classes)
    if fault:
        raise ValueError(fault)
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
        pipeline = leaf.get('pipeline') or ()
        masks = any(isinstance(step, dict) and step.get('with_mask') for step in pipeline)
        loader = _loader(pipeline, scope, name)
        channels = _channels(cfg) if loader.keeps_channels else None
        yield Source(name, _build(leaf, scope, name), masks, loader, channels)


def _channels(cfg: Config) -> int | None:
    """Return the number of channels that the model normalizes; None where any number goes."""
    preprocessor = (cfg.get('model') or {}).get('data_preprocessor') or {}
    mean = preprocessor.get('mean') or ()
    return len(mean) if len(mean) > 1 else None


def _loader(pipeline: Sequence[Any], scope: str | None, split: str) -> SampleLoader:
    try:
        return SampleLoader(pipeline, scope)
    except BUILD_ERRORS as error:
        raise ValueError(f'The pipeline of the {split} dataset cannot be built: {error}') from error


def _build(leaf: dict, scope: str | None, split: str) -> Any:
    try:
        return build_unloaded(leaf, scope)
    except BUILD_ERRORS as error:
        raise ValueError(
            f'The {split} dataset of type {leaf.get("type")!r} cannot be built: {error}'
        ) from error
