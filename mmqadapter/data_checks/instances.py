"""Checks of a COCO file and its images (``mmdet.CocoDataset`` and its subclasses)."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from mmengine import fileio

from mmqadapter.data_checks.annotations import annotation_problems
from mmqadapter.data_checks.coco_index import (
    category_problems,
    drop_incomplete,
    duplicate_files,
    duplicate_ids,
    load_coco,
    size_fault,
)
from mmqadapter.data_checks.files import list_images, map_with_progress
from mmqadapter.data_checks.images import CheckedImage, check_image
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem, Scan
from mmqadapter.data_checks.source import Source, class_names


def scan_instances(source: Source) -> Scan:
    """Check every image and instance of a COCO dataset, and count the instances of each class."""
    dataset, split = source.dataset, source.split
    try:
        classes, folder = class_names(dataset), _image_folder(dataset)
        coco = load_coco(dataset.ann_file, dataset.backend_args)
    except ValueError as error:
        problem = Problem(ERROR, 'unusable data set', split, str(error))
        return Scan(split, 'instances', problems=(problem,))
    problems = drop_incomplete(coco, split)
    problems += duplicate_ids(coco, split)
    problems += duplicate_files(coco['images'], split)
    problems += category_problems(coco['categories'], classes, split)
    samples = [_sample(image, dataset) for image in coco['images']]
    digests = dict[str, str]()
    for sample, checked in zip(samples, _checked_images(source, coco, samples), strict=True):
        problems += checked.problems
        digests[checked.digest] = osp.normpath(sample['img_path'])
    problems += _left_out(source, coco, classes)
    problems += annotation_problems(coco, split, source.needs_masks)
    listed = frozenset(osp.normpath(sample['img_path']) for sample in samples)
    return Scan(
        split,
        'instances',
        classes,
        _counts(coco, classes),
        len(coco['images']),
        tuple(problems),
        listed,
        list_images(folder, dataset.backend_args) - listed,
        digests,
        open_vocabulary=bool(getattr(dataset, 'return_classes', False)),
    )


def _image_folder(dataset: Any) -> str:
    folder = dataset.data_prefix.get('img')
    if not folder or not fileio.isdir(folder, backend_args=dataset.backend_args):
        raise ValueError(f"data_prefix['img'] = {folder!r} is not a folder")
    return folder


def _sample(image: dict, dataset: Any) -> dict:
    """Return the sample of an image without its annotations, with the path by the dataset."""
    entry = {**image, 'img_id': image['id']}
    try:
        return dataset.parse_data_info(dict(raw_img_info=entry, raw_ann_info=[]))
    except (AttributeError, KeyError, TypeError):  # a subclass needs more than an entry
        return dict(img_path=osp.join(dataset.data_prefix['img'], image['file_name']))


def _checked_images(
    source: Source, coco: dict[str, list[dict]], samples: list[dict]
) -> Iterator[CheckedImage]:
    check = partial(_check_image, source=source)
    pairs = list(zip(coco['images'], samples, strict=True))
    yield from map_with_progress(check, pairs, f'Checking {source.split} images')


def _check_image(pair: tuple[dict, dict], source: Source) -> CheckedImage:
    """Check an image, and that it has the size of its entry."""
    entry, sample = pair
    checked, size = check_image(sample, source), (entry['width'], entry['height'])
    fault = size_fault(checked.size, size) if checked.size else ''
    if fault:
        where = source.place(sample['img_path'])
        checked.problems.append(Problem(ERROR, 'size mismatch', where, fault))
    return checked


def _left_out(
    source: Source, coco: dict[str, list[dict]], classes: tuple[str, ...]
) -> Iterator[Problem]:
    """Report images without instances, and those that ``filter_cfg`` leaves out of training."""
    rules = {} if source.dataset.test_mode else source.dataset.filter_cfg or {}
    smallest = rules.get('min_size', 0)
    used = {category['id'] for category in coco['categories'] if category['name'] in classes}
    annotated = {ann['image_id'] for ann in coco['annotations'] if ann['category_id'] in used}
    left = len(coco['images'])
    for image in coco['images']:
        where = f'{source.split}: {image["file_name"]}'
        empty, small = image['id'] not in annotated, min(image['width'], image['height']) < smallest
        if empty:
            fate = 'left out (filter_empty_gt)' if rules.get('filter_empty_gt') else 'kept'
            message = f'no instance; {fate}'
            yield Problem(WARNING, 'image without annotation', where, message)
        if small:
            message = f'smaller than filter_cfg.min_size = {smallest}; left out'
            yield Problem(WARNING, 'small image', where, message)
        left -= bool(small or (empty and rules.get('filter_empty_gt')))
    if coco['images'] and not left:
        yield Problem(ERROR, 'no images', source.split, 'filter_cfg leaves out every image')


def _counts(coco: dict[str, list[dict]], classes: tuple[str, ...]) -> dict[str, int]:
    """Count the instances of each class that training learns."""
    names = {category['id']: category['name'] for category in coco['categories']}
    trained = [ann for ann in coco['annotations'] if not ann.get('iscrowd')]
    instances = Counter(names.get(ann['category_id']) for ann in trained)
    return {name: instances[name] for name in classes}
