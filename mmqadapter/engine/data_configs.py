"""Datasets that a config names, found before anything is built."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine import fileio


def leaf_configs(dataset: dict, scope: str | None = None) -> Iterator[tuple[dict, str | None]]:
    """Yield the configs of the innermost datasets inside wrappers, each with its registry scope.

    Args:
        dataset: Config of a dataset or of a wrapper (with ``dataset=`` or ``datasets=``).
        scope: Scope that applies if a config names none.
    """
    scope = dataset.get('_scope_', scope)
    inner = dataset.get('datasets') or dataset.get('dataset')
    if inner is None:
        yield dataset, scope
        return
    for child in inner if isinstance(inner, (list, tuple)) else [inner]:
        yield from leaf_configs(child, scope)


def require_root(leaf: dict, split: str) -> None:
    """Check that the data root of a dataset's config exists.

    Args:
        leaf: Config of the dataset.
        split: Its name in the error, such as ``'train'``.

    Raises:
        FileNotFoundError: The data root is not a folder.
    """
    root = leaf.get('data_root')
    if root and not fileio.isdir(root, backend_args=leaf.get('backend_args')):
        raise FileNotFoundError(
            f'The data root {root!r} of the {split} dataset is not a folder. Put the data there, '
            'edit `data_root` in the config, or, for the shipped configs, '
            'set MMQADAPTER_DATA to the folder that holds it.'
        )
