"""Errors for faults in a dataset's files, which name the file and the remedy."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from typing import Any

from mmqadapter.engine.coco_lists import checked_lists
from mmqadapter.utils.text import one_line

REMEDY = 'run `mmqadapter check-data CONFIG` to list all faults of the data'
# Methods of a dataset in which its annotation files are read.
LOADING = ('full_init', 'load_data_list')


class DataError(ValueError):
    """Error for a file of the data that is missing, cannot be read or does not fit."""


def data_error(file: str, message: str) -> DataError:
    """Return the error for a file.

    Args:
        file: Path of the file, or what else names the place.
        message: What is wrong with it.
    """
    return DataError(f'{file}: {message}; {REMEDY}.')


@contextmanager
def loading_faults() -> Iterator[None]:
    """Raise a :class:`DataError` for annotation files that a dataset built in the block cannot use.

    Other errors, such as those in the config of a dataset, pass unchanged.
    """
    try:
        with checked_lists():
            yield
    except DataError:
        raise
    except Exception as error:
        dataset = _loading_dataset(error)
        if dataset is None:  # the config is wrong, not the data
            raise
        raise data_error(*_loading_fault(dataset, error)) from error


def check_categories(dataset: Any) -> None:
    """Check that a COCO file has a category for each class; without it, labels would shift.

    Raises:
        DataError: A class is not among the categories of the file.
    """
    for leaf in leaf_datasets(dataset):
        classes = (getattr(leaf, 'metainfo', None) or {}).get('classes') or ()
        found = len(getattr(leaf, 'cat_ids', classes))
        if hasattr(leaf, 'COCOAPI') and found < len(classes):
            raise data_error(
                str(leaf.ann_file),
                f'only {found} of the {len(classes)} classes of the config are among its '
                'categories; metainfo.classes must name categories of the file',
            )


def leaf_datasets(dataset: Any) -> list[Any]:
    """Return the innermost datasets inside wrappers."""
    children = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    inner = [child for child in children if hasattr(child, '__getitem__')]
    return [leaf for child in inner for leaf in leaf_datasets(child)] or [dataset]


def _loading_dataset(error: Exception) -> Any:
    """Return the dataset that was reading its annotation files; None if none was."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    loading = [frame for frame in frames if frame.f_code.co_name in LOADING]
    return loading[-1].f_locals.get('self') if loading else None


def _loading_fault(dataset: Any, error: Exception) -> tuple[str, str]:
    """Return the file that could not be loaded, and why."""
    file = getattr(dataset, 'ann_file', '') or getattr(dataset, 'data_root', None)
    if isinstance(error, OSError) and error.filename:
        return str(error.filename), os_message(error)
    if 'need at least one array' in str(error):  # mmengine collects the samples with NumPy
        prefix = dict(getattr(dataset, 'data_prefix', {}))
        return str(file), f'the dataset holds no image (data_prefix {prefix})'
    if isinstance(error, JSONDecodeError):
        return str(file), f'is not valid JSON ({error})'
    if type(error) is ValueError:
        return str(file), one_line(error, 300)
    return str(file), f'cannot be used: {type(error).__name__}: {one_line(error, 150)}'


def os_message(error: OSError) -> str:
    """Return what the operating system says of a file."""
    missing = isinstance(error, FileNotFoundError)
    return 'the file does not exist' if missing else error.strerror or one_line(error, 150)
