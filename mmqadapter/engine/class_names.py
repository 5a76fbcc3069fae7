"""Check of the class names that a config gives its data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine import list_from_file
from mmengine.config import Config

from mmqadapter.engine.data_configs import leaf_configs

SPLITS = ('train', 'val', 'test')


def check_class_names(classes: Any) -> tuple[str, ...]:
    """Return class names as a tuple, in the order of the labels.

    Raises:
        ValueError: There are none, a single string in place of a list, or a name twice.
    """
    expected = 'give a tuple of names, a single one with a comma: ("name",)'
    if not classes or not isinstance(classes, (list, tuple)):
        raise ValueError(f'metainfo.classes={classes!r} is invalid: {expected}')
    for name in classes:
        if not isinstance(name, str) or not name:
            raise ValueError(f'metainfo.classes holds {name!r}, which is not a name: {expected}')
        if classes.count(name) > 1:
            raise ValueError(f'metainfo.classes holds {name!r} twice: give each class its own name')
    return tuple(classes)


def require_class_names(cfg: Config, *splits: str) -> None:
    """Check the class names of the datasets of a config, before any of them is built.

    Args:
        cfg: Config of mmdet or mmseg.
        splits: Of ``'train'``, ``'val'`` and ``'test'``; all for none.

    Raises:
        ValueError: The classes of a dataset are not a list of names.
    """
    for split in splits or SPLITS:
        for _ in config_classes(cfg, split):
            pass


def config_classes(cfg: Config, split: str) -> Iterator[tuple[str, ...]]:
    """Yield the class names of each dataset of a split that the config itself names.

    Raises:
        ValueError: The classes of a dataset are not a list of names.
    """
    dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
    for leaf, _ in leaf_configs(dataset) if dataset else ():
        classes = (leaf.get('metainfo') or {}).get('classes')
        if classes is None:
            continue
        try:
            yield check_class_names(_read(classes))
        except ValueError as error:
            raise ValueError(f'{split}_dataloader: {error}.') from error


def _read(classes: Any) -> Any:
    """Return the names in the file that ``classes`` is the path of, as mmengine reads it."""
    if not isinstance(classes, str):
        return classes
    try:
        return list_from_file(classes)
    except (TypeError, OSError):
        return classes
