"""Checks of the class names of a config's datasets, before any of their data is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from mmengine.config import Config
from mmengine.dataset import ConcatDataset
from mmengine.registry import DATASETS, DefaultScope

from mmqadapter.engine.data_configs import leaf_configs

SPLITS = ('train', 'val', 'test')
# Errors of a dataset that is built from a wrong config.
BUILD_ERRORS = (AssertionError, AttributeError, KeyError, OSError, TypeError, ValueError)


def check_classes(cfg: Config, splits: Sequence[str] = SPLITS) -> None:
    """Check the class names of the datasets of a config; datasets are built, but not loaded.

    Args:
        cfg: Config of mmdet or mmseg.
        splits: Splits to check; a split without a dataloader passes.

    Raises:
        ValueError: The names are not a list of different names, or joined datasets have other
            names than each other.
    """
    for split in splits:
        for fault in class_faults(cfg, split):
            raise ValueError(f'{fault[:-1]} (the {split} dataset).')
    if len(splits) > 1:
        _check_same_classes(cfg, splits)


def _check_same_classes(cfg: Config, splits: Sequence[str]) -> None:
    """Check that no split has the classes of another in another order, which swaps labels."""
    lists = [(split, names) for split in splits for names in config_classes(cfg, split)]
    for split, names in lists[1:]:
        first_split, first = lists[0]
        if names != first and sorted(names) == sorted(first):
            raise ValueError(
                f'metainfo.classes of the {split} dataset are those of the {first_split} dataset '
                f'in another order: {list(names)} and {list(first)}; labels are numbered in this '
                'order, so write them alike.'
            )


def class_faults(cfg: Config, split: str) -> Iterator[str]:
    """Yield what is wrong with the class names of a split, as sentences."""
    loader = cfg.get(f'{split}_dataloader') or {}
    dataset, scope = loader.get('dataset'), loader.get('_scope_', cfg.get('default_scope'))
    if not dataset:
        return
    for leaf, leaf_scope in leaf_configs(dataset, scope):
        classes = _classes(leaf, leaf_scope)
        fault = '' if classes is None else class_list_fault(classes)
        if fault:
            yield fault
            return
    yield from joint_faults(dataset, scope)


def config_classes(cfg: Config, split: str) -> Iterator[tuple[str, ...]]:
    """Yield the class names that the config itself gives to the datasets of a split."""
    dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
    for leaf, scope in leaf_configs(dataset, cfg.get('default_scope')) if dataset else ():
        if (leaf.get('metainfo') or {}).get('classes') is not None:
            yield tuple(_classes(leaf, scope))


def class_list_fault(classes: Any) -> str:
    """Return what is wrong with ``metainfo.classes``, as a sentence; empty if nothing is."""
    start = f'metainfo.classes={classes!r} is invalid: '
    if isinstance(classes, str):
        return f'{start}give a tuple of names, a single one with a comma: ({classes!r},).'
    if not classes or not isinstance(classes, (list, tuple)):
        return f'{start}give a tuple of names, a single one with a comma: ("name",).'
    if not all(isinstance(name, str) for name in classes):
        return f'{start}each name must be a string.'
    twice = [name for name, times in Counter(classes).items() if times > 1]
    return f'{start}{twice[0]!r} occurs twice; name each class once.' if twice else ''


def joint_faults(dataset: dict, scope: str | None) -> Iterator[str]:
    """Yield why the datasets that a config joins cannot be used together, as sentences."""
    scope = dataset.get('_scope_', scope)
    inner = dataset.get('datasets') or dataset.get('dataset') or ()
    children = inner if isinstance(inner, (list, tuple)) else [inner]
    if dataset.get('datasets'):
        joined = [_build(*leaf) for leaf in leaf_configs(dataset, scope)]
        fault = _joint_fault(dataset, scope, joined) if None not in joined else ''
        if fault:
            yield fault
            return
    for child in children:
        yield from joint_faults(child, scope)


def build_unloaded(leaf: dict, scope: str | None) -> Any:
    """Build a dataset without its pipeline and its data; paths, suffixes and classes are set.

    Raises:
        ValueError, TypeError and others: see ``BUILD_ERRORS``.
    """
    with DefaultScope.overwrite_default_scope(scope):
        return DATASETS.build(dict(leaf, lazy_init=True, pipeline=[]))


def _build(leaf: dict, scope: str | None) -> Any:
    """Return the built dataset; None if it cannot be built, which its user reports."""
    try:
        return build_unloaded(leaf, scope)
    except BUILD_ERRORS:
        return None


def _classes(leaf: dict, scope: str | None) -> Any:
    """Return the class names of a dataset, also those of its type or of a file; None for none."""
    dataset = _build(leaf, scope)
    metainfo = getattr(dataset, 'metainfo', None) or leaf.get('metainfo') or {}
    return metainfo.get('classes')


def _joint_fault(config: dict, scope: str | None, joined: list[Any]) -> str:
    # Datasets with return_classes=True give their names to the model with each sample.
    fixed = [data for data in joined if not getattr(data, 'return_classes', False)]
    lists = [tuple(data.metainfo.get('classes') or ()) for data in fixed]
    for number, names in enumerate(lists):
        for label, (name, first) in enumerate(zip_longest(names, lists[0])):
            if name != first:
                return (
                    f'class {label} of joined dataset {number} is {name!r}, of dataset 0 '
                    f'{first!r}: expected metainfo.classes with the same names in the same order.'
                )
    return _refusal(config, scope, joined)


def _refusal(config: dict, scope: str | None, joined: list[Any]) -> str:
    """Return why the wrapper itself does not join the datasets; empty if it does."""
    kind = config['type']
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    if not isinstance(kind, type) or not issubclass(kind, ConcatDataset):
        return ''
    try:
        kind(joined, lazy_init=True, ignore_keys=config.get('ignore_keys'))
    except (TypeError, ValueError) as error:
        return (
            f'the datasets that {kind.__name__} joins differ in {_differing_keys(joined)} '
            f'({error}): make these equal, or name what does not matter in ignore_keys.'
        )
    return ''


def _differing_keys(joined: list[Any]) -> str:
    first, *rest = (data.metainfo for data in joined)
    keys = sorted(set(first).union(*rest))
    return ', '.join(key for key in keys if any(info.get(key) != first.get(key) for info in rest))
