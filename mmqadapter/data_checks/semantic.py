"""Checks of a folder of images and label maps (``mmseg.BaseSegDataset`` and its subclasses)."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from mmengine import fileio

from mmqadapter.data_checks.files import list_images, map_with_progress
from mmqadapter.data_checks.images import CheckedImage, check_image
from mmqadapter.data_checks.label_maps import CheckedLabels, check_label_map
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem, Scan
from mmqadapter.data_checks.source import Source, class_names


class Pair(NamedTuple):
    """Results of the checks of an image and its label map."""

    image: CheckedImage
    labels: CheckedLabels


def scan_semantic(source: Source) -> Scan:
    """Check every image and label map of a dataset, and count the pixels of each class."""
    dataset, split = source.dataset, source.split
    problems = _folder_problems(dataset, split)
    if problems:
        return Scan(split, 'pixels', problems=tuple(problems))
    samples, classes = dataset.load_data_list(), class_names(dataset)
    pixels, digests = Counter[int](), dict[str, str]()
    check = partial(_check_pair, source=source)
    pairs = map_with_progress(check, samples, f'Checking {split} images')
    for sample, pair in zip(samples, pairs, strict=True):
        problems += [*pair.image.problems, *pair.labels.problems]
        pixels += pair.labels.pixels
        digests[pair.image.digest] = osp.normpath(sample['img_path'])
    problems += _unused_masks(source, samples)
    listed = frozenset(osp.normpath(sample['img_path']) for sample in samples)
    masks = _masks(dataset)
    folder = list_images(dataset.data_prefix['img_path'], dataset.backend_args) - masks
    return Scan(
        split,
        'pixels',
        classes,
        {name: pixels[label] for label, name in enumerate(classes)},
        len(samples),
        tuple(problems),
        listed,
        folder - listed,
        digests,
        pixels[dataset.ignore_index],
        dataset.ignore_index,
        _hint(pixels, dataset, classes),
        unlabeled=frozenset(_unlabeled(folder - listed, masks, dataset)),
    )


def _folder_problems(dataset: Any, split: str) -> list[Problem]:
    """Report what prevents the list of files from being read at all."""
    problems = []
    try:
        class_names(dataset)
    except ValueError as error:
        problems.append(Problem(ERROR, 'no classes', split, str(error)))
    for key in ('img_path', 'seg_map_path'):
        folder = dataset.data_prefix.get(key)
        if not folder or not fileio.isdir(folder, backend_args=dataset.backend_args):
            message = f'data_prefix[{key!r}] = {folder!r} is not a folder'
            problems.append(Problem(ERROR, 'missing folder', split, message))
    if dataset.ann_file and not fileio.exists(dataset.ann_file, backend_args=dataset.backend_args):
        message = f'ann_file {dataset.ann_file!r}, the list of file names, does not exist'
        problems.append(Problem(ERROR, 'missing file', split, message))
    return problems


def _check_pair(sample: dict, source: Source) -> Pair:
    """Check an image, its label map, and that they have one size."""
    image, labels = check_image(sample, source), check_label_map(sample, source)
    if image.size and labels.size and image.size != labels.size:
        message = f'the image is {_size(image.size)}, its label map {_size(labels.size)}'
        where = source.place(sample['seg_map_path'])
        labels.problems.append(Problem(ERROR, 'size mismatch', where, message))
    return Pair(image, labels)


def _hint(pixels: Counter[int], dataset: Any, classes: tuple[str, ...]) -> str:
    """Return the likely reason why classes are empty; empty if there is none."""
    ignored = dataset.ignore_index
    if pixels[ignored] and dataset.reduce_zero_label and not pixels[len(classes) - 1]:
        return (
            f'reduce_zero_label=True ignores the stored value 0 and lowers the others by one; if '
            f'0 is {classes[0]!r}, set it to False'
        )
    if set(pixels) == {0, ignored} and ignored == 255:
        return 'the label maps hold only 0 and 255, which is ignored; divide them by 255'
    return ''


def _masks(dataset: Any) -> frozenset[str]:
    folder = dataset.data_prefix['seg_map_path']
    names = fileio.list_dir_or_file(
        folder,
        list_dir=False,
        suffix=dataset.seg_map_suffix,
        recursive=True,
        backend_args=dataset.backend_args,
    )
    return frozenset(osp.normpath(osp.join(folder, name)) for name in names)


def _unlabeled(images: Iterable[str], masks: frozenset[str], dataset: Any) -> Iterator[str]:
    """Yield the images with the suffix of the dataset that have no label map."""
    prefix, suffix = dataset.data_prefix, dataset.img_suffix
    for image in images:
        if image.endswith(suffix):
            name = osp.relpath(image, prefix['img_path']).removesuffix(suffix)
            label_map = osp.join(prefix['seg_map_path'], name + dataset.seg_map_suffix)
            if osp.normpath(label_map) not in masks:
                yield image


def _unused_masks(source: Source, samples: list[dict]) -> list[Problem]:
    dataset = source.dataset
    if dataset.ann_file:  # a list of names leaves files out on purpose
        return []
    message = f'no image of this name with suffix {dataset.img_suffix!r}'
    used = {osp.normpath(x[key]) for x in samples for key in ('img_path', 'seg_map_path')}
    return [
        Problem(WARNING, 'annotation without image', source.place(path), message)
        for path in sorted(_masks(dataset) - used)
    ]


def _size(size: tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'
