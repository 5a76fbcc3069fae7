"""Checks of images with one class each (datasets of mmpretrain, such as ``CustomDataset``)."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from mmqadapter.data_checks.files import list_images, map_with_progress
from mmqadapter.data_checks.images import check_image
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem, Scan
from mmqadapter.data_checks.source import Source, class_names

LOAD_ERRORS = (AssertionError, IndexError, KeyError, OSError, RuntimeError, ValueError)


def scan_classification(source: Source) -> Scan:
    """Check every image of a dataset and its label, and count the images of each class."""
    dataset, split = source.dataset, source.split
    try:
        samples = dataset.load_data_list()  # may find the classes
        classes = class_names(dataset)
    except LOAD_ERRORS as error:
        return Scan(split, 'images', problems=(_unusable(dataset, split, error),))
    problems = list(_label_problems(samples, classes, source))
    check = partial(check_image, source=source)
    images = map_with_progress(check, samples, f'Checking {split} images')
    digests = dict[str, str]()
    for sample, image in zip(samples, images, strict=True):
        problems += image.problems
        digests[image.digest] = osp.normpath(sample['img_path'])
    listed = frozenset(osp.normpath(sample['img_path']) for sample in samples)
    counts = Counter(_label(sample) for sample in samples)
    return Scan(
        split,
        'images',
        classes,
        {name: counts[label] for label, name in enumerate(classes)},
        len(samples),
        tuple(problems),
        listed,
        # Next to used images; a list of names may leave whole folders out on purpose.
        frozenset().union(*(list_images(folder) for folder in _folders(dataset))) - listed,
        digests,
    )


def _folders(dataset: Any) -> list[str]:
    """Return the folder of a dataset without a list of names, which uses all of its files."""
    return [] if dataset.ann_file else [dataset.img_prefix]


def _unusable(dataset: Any, split: str, error: Exception) -> Problem:
    place = dataset.ann_file or dataset.img_prefix
    message = (
        f'{place!r} cannot be read as images and classes ({type(error).__name__}: {error}); '
        "expected a list of lines 'IMAGE NUMBER' as ann_file, or a folder for each class"
    )
    return Problem(ERROR, 'unusable data set', split, message)


def _label(sample: dict) -> int:
    return int(sample.get('gt_label', -1))


def _label_problems(
    samples: list[dict], classes: tuple[str, ...], source: Source
) -> Iterator[Problem]:
    labels: dict[str, int] = {}
    for sample in samples:
        path, label = osp.normpath(sample['img_path']), _label(sample)
        where = source.place(sample['img_path'])
        if not 0 <= label < len(classes):
            message = f'has the class number {label}; expected 0 to {len(classes) - 1}'
            yield Problem(ERROR, 'unknown label', where, message)
        if labels.get(path, label) != label:
            message = f'is listed with the classes {labels[path]} and {label}; list it once'
            yield Problem(ERROR, 'two classes', where, message)
        elif path in labels:
            yield Problem(WARNING, 'duplicate file', where, 'is listed twice')
        labels[path] = label
