"""Checks of the data of a config before training: files, sizes, labels, classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mmengine.config import Config

from mmqadapter.data_checks.instances import scan_instances
from mmqadapter.data_checks.outputs import output_problems
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem, Scan
from mmqadapter.data_checks.semantic import scan_semantic
from mmqadapter.data_checks.source import Source, find_sources


def check_dataset(cfg: Config) -> list[Problem]:
    """Check the train and val data of an mmseg or mmdet config, wrappers included.

    Returns:
        All problems, errors first; an empty list means that none was found.

    Raises:
        FileNotFoundError: A data root does not exist.
        ValueError: The config has no dataset, or one of neither kind.
    """
    return collect_problems(scan_config(cfg))


def scan_config(cfg: Config) -> list[Scan]:
    """Scan every dataset of a config; raise the errors of :func:`check_dataset`."""
    first, *rest = (_scan(source) for source in find_sources(cfg))
    if not first.classes:
        return [first, *rest]
    outputs = output_problems(cfg.get('model'), first.classes)
    return [replace(first, problems=(*first.problems, *outputs)), *rest]


def collect_problems(scans: Sequence[Scan]) -> list[Problem]:
    """Return the problems of all scans and those found by comparing them, errors first."""
    problems = [problem for scan in scans for problem in scan.problems]
    for check in (_empty_data, _class_lists, _empty_classes, _shared_images, _unused_images):
        problems += check(scans)
    return sorted(problems, key=lambda problem: problem.severity != ERROR)


def _scan(source: Source) -> Scan:
    if hasattr(source.dataset, 'COCOAPI'):
        return scan_instances(source)
    if hasattr(source.dataset, 'label_map'):
        return scan_semantic(source)
    raise ValueError(
        f'The {source.split} dataset is a {type(source.dataset).__name__}: expected a subclass of '
        'mmseg.BaseSegDataset (PNG label maps) or mmdet.CocoDataset (COCO JSON).'
    )


def _empty_data(scans: Sequence[Scan]) -> Iterator[Problem]:
    for scan in scans:
        if scan.classes and not scan.images:
            message = 'the dataset has no image; check data_prefix, ann_file and img_suffix'
            yield Problem(ERROR, 'no images', scan.split, message)


def _class_lists(scans: Sequence[Scan]) -> Iterator[Problem]:
    known = [scan for scan in scans if scan.classes]
    for scan in known[1:]:
        if scan.classes != known[0].classes:
            message = f'classes {scan.classes} differ from those of {known[0].split}'
            yield Problem(ERROR, 'class lists differ', scan.split, message)


def _empty_classes(scans: Sequence[Scan]) -> Iterator[Problem]:
    """Report classes without a training example."""
    train = [scan for scan in scans if scan.is_train and scan.images]
    for name in train[0].classes if train else ():
        if any(scan.counts.get(name) for scan in train):
            continue
        if any(scan.counts.get(name) for scan in scans):
            message = 'occurs in val only; move images between the splits'
            yield Problem(ERROR, 'class only in val', name, message)
        else:
            message = (
                f'no {train[0].unit[:-1]} in any image; check the annotation or remove the class'
            )
            yield Problem(ERROR, 'empty class', name, message)


def _shared_images(scans: Sequence[Scan]) -> Iterator[Problem]:
    """Report images that are used for training and for validation."""
    train = frozenset[str]().union(*(scan.listed for scan in scans if scan.is_train))
    val = frozenset[str]().union(*(scan.listed for scan in scans if not scan.is_train))
    message = 'belongs to train and val, so the score will look better than it is'
    for path in sorted(train & val):
        yield Problem(WARNING, 'image in both splits', path, message)


def _unused_images(scans: Sequence[Scan]) -> Iterator[Problem]:
    """Report image files in a folder of used ones that belong to no split."""
    used = frozenset[str]().union(*(scan.listed for scan in scans))
    unlisted = frozenset[str]().union(*(scan.unlisted for scan in scans))
    message = 'is in an image folder, but is not listed or has another suffix than img_suffix'
    for path in sorted(unlisted - used):
        yield Problem(WARNING, 'unused image', path, message)
