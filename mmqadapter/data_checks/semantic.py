"""Checks of a folder of images and label maps (``mmseg.BaseSegDataset`` and its subclasses)."""

from __future__ import annotations

import os.path as osp
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from mmengine import fileio
from PIL import Image

from mmqadapter.data_checks.files import (
    READ_ERRORS,
    list_images,
    map_with_progress,
    open_image,
    upright_size,
)
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem, Scan
from mmqadapter.data_checks.source import Source, class_names

ONE_BYTE_MODES = ('1', 'L', 'P')


class Pair(NamedTuple):
    """Paths of an image and its label map."""

    image: str
    mask: str


def scan_semantic(source: Source) -> Scan:
    """Check every image and label map of a dataset, and count the pixels of each class."""
    dataset, split = source.dataset, source.split
    problems = _folder_problems(dataset, split)
    if problems:
        return Scan(split, 'pixels', problems=tuple(problems))
    pairs = [Pair(x['img_path'], x['seg_map_path']) for x in dataset.load_data_list()]
    table = label_table(dataset)
    classes = class_names(dataset)
    pixels = np.zeros(256, dtype=np.int64)
    check = partial(_check_pair, source=source, table=table)
    for pair_problems, values in map_with_progress(check, pairs, f'Checking {split} label maps'):
        problems += pair_problems
        pixels += values
    problems += _unused_masks(source, pairs)
    listed = frozenset(osp.normpath(pair.image) for pair in pairs)
    folder = list_images(dataset.data_prefix['img_path'], dataset.backend_args) - _masks(dataset)
    counts = {name: int(pixels[table == label].sum()) for label, name in enumerate(classes)}
    return Scan(
        split, 'pixels', classes, counts, len(pairs), tuple(problems), listed, folder - listed
    )


def label_table(dataset: Any) -> np.ndarray:
    """Return the label that mmseg loads for each of the 256 stored values; shape (256,), int64."""
    table: np.ndarray = np.arange(256)
    if dataset.reduce_zero_label:
        table = np.where(table == 0, 255, table) - 1
        table[table == 254] = 255
    mapped = table.copy()
    for old, new in (dataset.label_map or {}).items():
        mapped[table == old] = new
    return mapped


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


def _check_pair(pair: Pair, source: Source, table: np.ndarray) -> tuple[list[Problem], np.ndarray]:
    """Return the problems of an image and its label map, and the histogram (256,) of the map."""
    image, problems = _open(pair.image, 'missing image', source)
    mask, mask_problems = _open(pair.mask, 'image without annotation', source)
    problems += mask_problems
    if image and mask and upright_size(image) != mask.size:
        message = f'the image is {_size(upright_size(image))}, its label map {_size(mask.size)}'
        problems.append(Problem(ERROR, 'size mismatch', source.place(pair.mask), message))
    if mask is None:
        return problems, np.zeros(256, dtype=np.int64)
    label_problems, values = _check_labels(mask, source.dataset, source.place(pair.mask), table)
    return problems + label_problems, values


def _open(path: str, missing: str, source: Source) -> tuple[Image.Image | None, list[Problem]]:
    backend_args = source.dataset.backend_args
    if not fileio.isfile(path, backend_args=backend_args):
        return None, [Problem(ERROR, missing, source.place(path), 'the file does not exist')]
    try:
        return open_image(path, backend_args), []
    except READ_ERRORS as error:
        message = f'cannot be decoded: {error}'
        return None, [Problem(ERROR, 'unreadable file', source.place(path), message)]


def _check_labels(
    mask: Image.Image, dataset: Any, where: str, table: np.ndarray
) -> tuple[list[Problem], np.ndarray]:
    if mask.mode not in ONE_BYTE_MODES:
        message = (
            f'stored as {mask.mode}: expected one 8-bit channel with the class number; convert '
            'colors to class numbers first'
        )
        return [Problem(ERROR, 'not a label map', where, message)], np.zeros(256, dtype=np.int64)
    values = np.bincount(np.asarray(mask, dtype=np.uint8).ravel(), minlength=256)
    last = len(class_names(dataset)) - 1
    unknown = (values > 0) & (table > last) & (table != dataset.ignore_index)
    if not unknown.any():
        return [], values
    examples = ', '.join(f'{v} ({values[v]} pixels)' for v in np.flatnonzero(unknown)[:5])
    known = np.flatnonzero(table <= last)
    message = (
        f'has {examples}; expected {known[0]} to {known[-1]} or {dataset.ignore_index} (ignored)'
    )
    return [Problem(ERROR, 'unknown label', where, message)], values


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


def _unused_masks(source: Source, pairs: list[Pair]) -> list[Problem]:
    dataset = source.dataset
    if dataset.ann_file:  # a list of names leaves files out on purpose
        return []
    message = f'no image of this name with suffix {dataset.img_suffix!r}'
    unused = _masks(dataset) - {osp.normpath(path) for pair in pairs for path in pair}
    return [
        Problem(WARNING, 'annotation without image', source.place(path), message)
        for path in sorted(unused)
    ]


def _size(size: tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'
