"""Find the data sets that a config names, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine import fileio


def leaf_configs(dataset: dict, scope: str | None = None) -> Iterator[tuple[dict, str | None]]:
    """Walk through wrappers (``dataset=``, ``datasets=``) to the data sets, each with its scope."""
    scope = dataset.get('_scope_', scope)
    inner = dataset.get('datasets') or dataset.get('dataset')
    if inner is None:
        yield dataset, scope
        return
    for child in inner if isinstance(inner, (list, tuple)) else [inner]:
        yield from leaf_configs(child, scope)


def require_root(leaf: dict, split: str) -> None:
    """Check that the data root of a data set's config is there.

    Raises:
        FileNotFoundError: It is not a folder.
    """
    root = leaf.get('data_root')
    if root and not fileio.isdir(root, backend_args=leaf.get('backend_args')):
        raise FileNotFoundError(
            f'The data root {root!r} of the {split} data set is not a folder. Put the data there, '
            'edit `data_root` in the config, or, for the shipped configs, '
            'set MMQADAPTER_DATA to the folder that holds it.'
        )
