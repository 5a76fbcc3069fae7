"""Checks of a COCO file and its images (``mmdet.CocoDataset`` and its subclasses)."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from mmengine import fileio

from mmqadapter.data_checks.coco_index import (
    category_problems,
    drop_incomplete,
    duplicate_ids,
    load_coco,
)
from mmqadapter.data_checks.files import (
    READ_ERRORS,
    list_images,
    map_with_progress,
    open_image,
    upright_size,
)
from mmqadapter.data_checks.masks import box_fault, mask_fault
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
    problems += category_problems(coco['categories'], classes, split)
    problems += _image_problems(source, coco)
    problems += _annotation_problems(source, coco)
    problems += _crowd_problems(coco, split)
    listed = frozenset(osp.normpath(osp.join(folder, x['file_name'])) for x in coco['images'])
    unlisted = list_images(folder, dataset.backend_args) - listed
    names = {category['id']: category['name'] for category in coco['categories']}
    trained = [ann for ann in coco['annotations'] if not _is_crowd(ann)]
    instances = Counter(names.get(ann['category_id']) for ann in trained)
    counts = {name: instances[name] for name in classes}
    return Scan(
        split, 'instances', classes, counts, len(coco['images']), tuple(problems), listed, unlisted
    )


def _image_folder(dataset: Any) -> str:
    folder = dataset.data_prefix.get('img')
    if not folder or not fileio.isdir(folder, backend_args=dataset.backend_args):
        raise ValueError(f"data_prefix['img'] = {folder!r} is not a folder")
    return folder


def _image_problems(source: Source, coco: dict[str, list[dict]]) -> Iterator[Problem]:
    check = partial(_check_image, source=source)
    for problems in map_with_progress(check, coco['images'], f'Checking {source.split} images'):
        yield from problems
    yield from _left_out(source, coco)


def _left_out(source: Source, coco: dict[str, list[dict]]) -> Iterator[Problem]:
    """Report images without instances, and those that ``filter_cfg`` leaves out of training."""
    rules = {} if source.dataset.test_mode else source.dataset.filter_cfg or {}
    smallest = rules.get('min_size', 0)
    annotated = {ann['image_id'] for ann in coco['annotations']}
    for image in coco['images']:
        where = f'{source.split}: {image["file_name"]}'
        if image['id'] not in annotated:
            fate = 'left out (filter_empty_gt)' if rules.get('filter_empty_gt') else 'kept'
            message = f'no instance; {fate}'
            yield Problem(WARNING, 'image without annotation', where, message)
        if min(image['width'], image['height']) < smallest:
            message = f'smaller than filter_cfg.min_size = {smallest}; left out'
            yield Problem(WARNING, 'small image', where, message)


def _check_image(image: dict, source: Source) -> list[Problem]:
    dataset = source.dataset
    path = osp.join(dataset.data_prefix['img'], image['file_name'])
    where = source.place(path)
    if not fileio.isfile(path, backend_args=dataset.backend_args):
        return [Problem(ERROR, 'missing image', where, 'the file does not exist')]
    try:
        size = upright_size(open_image(path, dataset.backend_args))
    except READ_ERRORS as error:
        return [Problem(ERROR, 'unreadable file', where, f'cannot be decoded: {error}')]
    if size == (image['width'], image['height']):
        return []
    message = f'the file is {size[0]} x {size[1]} pixels, its entry says '
    message += f'{image["width"]} x {image["height"]}'
    return [Problem(ERROR, 'size mismatch', where, message)]


def _annotation_problems(source: Source, coco: dict[str, list[dict]]) -> Iterator[Problem]:
    images = {image['id']: image for image in coco['images']}
    categories = {category['id'] for category in coco['categories']}
    check = partial(_check_annotation, source=source, images=images, categories=categories)
    title = f'Checking {source.split} instances'
    for problems in map_with_progress(check, coco['annotations'], title):
        yield from problems


def _is_crowd(ann: dict) -> bool:
    return bool(ann.get('iscrowd'))


def _crowd_problems(coco: dict[str, list[dict]], split: str) -> Iterator[Problem]:
    crowds = sum(map(_is_crowd, coco['annotations']))
    if crowds:
        message = f'{crowds} of {len(coco["annotations"])} instances have iscrowd = 1, so they '
        yield Problem(
            WARNING, 'crowd instances', split, message + 'are neither trained on nor scored'
        )


def _check_annotation(
    ann: dict, source: Source, images: dict[Any, dict], categories: set
) -> list[Problem]:
    where = f'{source.split}: annotation {ann["id"]}'
    image = images.get(ann['image_id'])
    if image is None:
        message = f'image_id {ann["image_id"]!r} is not among the images'
        return [Problem(ERROR, 'annotation without image', where, message)]
    where += f' of {image["file_name"]}'
    if ann['category_id'] not in categories:
        message = f'category_id {ann["category_id"]!r} is not among the categories'
        return [Problem(ERROR, 'unknown category', where, message)]
    fault = box_fault(ann, image['width'], image['height'])
    if fault:
        return [Problem(ERROR, 'degenerate box', where, fault)]
    return _check_mask(ann, source, image, where)


def _check_mask(ann: dict, source: Source, image: dict, where: str) -> list[Problem]:
    mask = ann.get('segmentation')
    if mask:
        fault = mask_fault(mask, image['width'], image['height'])
        return [Problem(ERROR, 'unusable mask', where, fault)] if fault else []
    if source.needs_masks:
        message = 'no segmentation, but the pipeline loads masks (with_mask=True)'
        return [Problem(ERROR, 'unusable mask', where, message)]
    return []
