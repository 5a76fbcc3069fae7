"""Checks of the data of a config before training: files, sizes, labels, classes."""

from __future__ import annotations

import os.path as osp
from collections import ChainMap, Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mmengine.config import Config

from mmqadapter.data_checks.classification import scan_classification
from mmqadapter.data_checks.hints import forget_folders
from mmqadapter.data_checks.instances import scan_instances
from mmqadapter.data_checks.lone_classes import lone_classes, near_names
from mmqadapter.data_checks.outputs import ignore_problems, output_problems
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem, Scan
from mmqadapter.data_checks.semantic import scan_semantic
from mmqadapter.data_checks.source import SPLITS, Source, find_sources
from mmqadapter.engine.data_classes import joint_faults
from mmqadapter.engine.evaluator_files import check_evaluator_files


def check_dataset(cfg: Config) -> list[Problem]:
    """Check the train and val data of an mmseg, mmdet or mmpretrain config, wrappers included.

    Returns:
        All problems, errors first; an empty list means that none was found.

    Raises:
        FileNotFoundError: A data root does not exist.
        ValueError: The config has no dataset, or one of another kind.
    """
    return collect_problems(scan_config(cfg))


def scan_config(cfg: Config) -> list[Scan]:
    """Scan every dataset of a config; raise the errors of :func:`check_dataset`."""
    forget_folders()
    first, *rest = (_scan(source) for source in find_sources(cfg))
    problems = [*first.problems, *_joint_problems(cfg), *_evaluator_problems(cfg)]
    if first.classes:
        problems += output_problems(cfg.get('model'), first.classes)
        ignored = sum(scan.ignored for scan in (first, *rest))
        problems += ignore_problems(cfg.get('model'), first.classes, first.ignore_index, ignored)
    return [replace(first, problems=tuple(problems)), *rest]


def _joint_problems(cfg: Config) -> Iterator[Problem]:
    """Report datasets of one loader that cannot be used together."""
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader') or {}
        scope = loader.get('_scope_', cfg.get('default_scope'))
        for fault in joint_faults(loader.get('dataset') or {}, scope):
            yield Problem(ERROR, 'class lists differ', split, fault)


def _evaluator_problems(cfg: Config) -> Iterator[Problem]:
    """Report an evaluator that reads other annotations than its dataset."""
    for split in ('val', 'test'):
        try:
            check_evaluator_files(cfg, split)
        except ValueError as error:
            yield Problem(ERROR, 'evaluator file', split, str(error).removesuffix('.'))


def collect_problems(scans: Sequence[Scan]) -> list[Problem]:
    """Return the problems of all scans and those found by comparing them, errors first."""
    problems = [problem for scan in scans for problem in scan.problems]
    for check in (
        _empty_data,
        _class_lists,
        _empty_classes,
        lone_classes,
        near_names,
        _shared_images,
        _unused_images,
    ):
        problems += check(scans)
    return sorted(problems, key=lambda problem: problem.severity != ERROR)


def _scan(source: Source) -> Scan:
    api = getattr(source.dataset, 'COCOAPI', None)
    if api is not None and api.__name__ != 'COCOPanoptic':
        return scan_instances(source)
    if hasattr(source.dataset, 'label_map'):
        return scan_semantic(source)
    if hasattr(source.dataset, 'get_gt_labels'):
        return scan_classification(source)
    raise ValueError(
        f'The {source.split} dataset is a {type(source.dataset).__name__}: expected a subclass of '
        'mmseg.BaseSegDataset (PNG label maps), mmdet.CocoDataset (COCO JSON) or a dataset of '
        'mmpretrain (images with one class each).'
    )


def _empty_data(scans: Sequence[Scan]) -> Iterator[Problem]:
    for scan in scans:
        if scan.classes and not scan.images:
            message = 'the dataset has no image; check data_prefix, ann_file and img_suffix'
            suffixes = Counter(osp.splitext(path)[1] for path in scan.unlisted)
            if suffixes:
                files = ', '.join(f'{number} {name}' for name, number in suffixes.most_common())
                message += f' (image files in the folder: {files})'
            yield Problem(ERROR, 'no images', scan.split, message)


def _class_lists(scans: Sequence[Scan]) -> Iterator[Problem]:
    """Report splits with other classes; those within a split are compared when it is joined."""
    known = [scan for scan in scans if scan.classes and not scan.open_vocabulary]
    firsts = list({scan.is_train: scan for scan in reversed(known)}.values())[::-1]
    for scan in firsts[1:]:
        if scan.classes != firsts[0].classes:
            message = f'classes {scan.classes} differ from those of {firsts[0].split}'
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
            where = '' if train[0].unit == 'images' else ' in any image'
            message = f'no {train[0].unit[:-1]}{where}; '
            message += train[0].hint or 'check the annotation or remove the class'
            yield Problem(ERROR, 'empty class', name, message)


def _shared_images(scans: Sequence[Scan]) -> Iterator[Problem]:
    """Report images that are used for training and for validation."""
    train = frozenset[str]().union(*(scan.listed for scan in scans if scan.is_train))
    val = frozenset[str]().union(*(scan.listed for scan in scans if not scan.is_train))
    message = 'belongs to train and val, so the score will look better than it is'
    for path in sorted(train & val):
        yield Problem(WARNING, 'image in both splits', path, message)
    yield from _equal_images(scans)


def _equal_images(scans: Sequence[Scan]) -> Iterator[Problem]:
    """Report images of validation that training uses under another name."""
    train, val = ChainMap[str, str](), ChainMap[str, str]()
    for scan in scans:
        (train if scan.is_train else val).maps.append(dict(scan.digests))
    for digest, path in val.items():
        if digest and train.get(digest, path) != path:
            message = f'has the content of {train[digest]} in train, so the score will look better '
            yield Problem(WARNING, 'image in both splits', path, message + 'than it is')


def _unused_images(scans: Sequence[Scan]) -> Iterator[Problem]:
    """Report image files in a folder of used ones that belong to no split."""
    used = frozenset[str]().union(*(scan.listed for scan in scans))
    unlisted = frozenset[str]().union(*(scan.unlisted for scan in scans))
    unlabeled = frozenset[str]().union(*(scan.unlabeled for scan in scans))
    message = 'is in an image folder, but is not listed or has another suffix than img_suffix'
    for path in sorted(unlisted - used):
        text = 'has no label map, so it is not used' if path in unlabeled else message
        yield Problem(WARNING, 'unused image', path, text)
