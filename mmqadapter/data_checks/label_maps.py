"""Checks of one label map: the labels that training sees, and what was lost in loading them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import mmcv
import numpy as np

from mmqadapter.data_checks.images import read_file
from mmqadapter.data_checks.loader import LoadError
from mmqadapter.data_checks.problem import ERROR, WARNING, Problem
from mmqadapter.data_checks.source import Source, class_names
from mmqadapter.data_checks.stored import describe, read_header

ONE_BYTE_MODES = ('1', 'L', 'P')


@dataclass(frozen=True)
class CheckedLabels:
    """Result of the check of one label map.

    Attributes:
        problems: What is wrong with it.
        size: Width and height in pixels; None if it cannot be loaded.
        pixels: Number of pixels of each label that training sees.
    """

    problems: list[Problem]
    size: tuple[int, int] | None
    pixels: Counter[int]


def check_label_map(sample: dict, source: Source) -> CheckedLabels:
    """Load a label map as training does, and check its labels.

    Args:
        sample: Entry of the dataset, with the path as ``seg_map_path``.
        source: The dataset.
    """
    path = sample['seg_map_path']
    content, problems = read_file(path, 'image without annotation', source)
    if content is None:
        return CheckedLabels(problems, None, Counter())
    try:
        labels = source.loader.labels({**sample, 'seg_fields': []})
    except LoadError as error:
        reason = f' ({error})' if str(error) else ''
        message = f'cannot be loaded{reason}: the file is damaged or no image'
        problem = Problem(ERROR, 'unreadable file', source.place(path), message)
        return CheckedLabels([problem], None, Counter())
    size = (labels.shape[1], labels.shape[0]) if labels.ndim > 1 else None
    fault = _form_fault(content, labels, source)
    if fault:
        problem = Problem(ERROR, 'not a label map', source.place(path), fault)
        return CheckedLabels([problem], size, Counter())
    pixels = _count(labels)
    return CheckedLabels(_label_problems(pixels, source, source.place(path)), size, pixels)


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


def _form_fault(content: bytes, labels: np.ndarray, source: Source) -> str:
    """Return why a file holds no class numbers of 8 bits; empty if it does."""
    header, backend = read_header(content), source.loader.label_backend
    mode = header.mode if header else f'{labels.shape[-1]} channels'
    if labels.ndim != 2:
        remedy = 'convert colors to class numbers first'
        if mode == 'P':  # OpenCV decodes a palette into its colors
            remedy = f'imdecode_backend={backend!r} reads the palette as colors, use "pillow"'
        return f'stored as {mode}: expected one 8-bit channel with the class number; {remedy}'
    if backend is None or (header and header.mode in ONE_BYTE_MODES):
        return ''
    stored = mmcv.imfrombytes(content, flag='unchanged', backend=backend).squeeze()
    if np.array_equal(stored, stored.astype(np.uint8)):
        return ''
    return (
        f'stored as {describe(stored)}: expected one 8-bit channel with the class number; '
        f'training sees {describe(labels)}'
    )


def _count(labels: np.ndarray) -> Counter[int]:
    if labels.dtype == np.uint8:
        counts = np.bincount(labels.ravel(), minlength=256)
        return Counter({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
    values, counts = np.unique(labels, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _label_problems(pixels: Counter[int], source: Source, where: str) -> list[Problem]:
    dataset, count = source.dataset, len(class_names(source.dataset))
    unknown = [x for x in pixels if not 0 <= x < count and x != dataset.ignore_index]
    if unknown:
        message = _unknown_message(pixels, unknown, source)
        return [Problem(ERROR, 'unknown label', where, message)]
    if set(pixels) == {dataset.ignore_index}:
        message = 'all pixels are ignored, so nothing is learned from the image'
        return [Problem(WARNING, 'nothing labeled', where, message)]
    return []


def _unknown_message(pixels: Counter[int], unknown: list[int], source: Source) -> str:
    """Name unknown labels by the values that the file stores."""
    dataset, count = source.dataset, len(class_names(source.dataset))
    stock = source.loader.label_backend is not None
    table = label_table(dataset) if stock else np.arange(256)
    known = np.flatnonzero(table < count)
    examples = ', '.join(f'{_stored(table, x)} ({pixels[x]} pixels)' for x in unknown[:5])
    message = f'has {examples}; expected {known[0]} to {known[-1]} or {dataset.ignore_index} '
    message += '(ignored)'
    if unknown == [count] and 0 not in pixels and stock and not dataset.reduce_zero_label:
        message += '; if the first class is stored as 1, set reduce_zero_label=True'
    return message


def _stored(table: np.ndarray, label: int) -> int:
    values = np.flatnonzero(table == label)
    return int(values[0]) if len(values) else label
