"""Checks of a loaded sample: its annotation has the size of its image, its labels are classes."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmqadapter.engine.data_error import data_error

MOST_LABEL = 255  # label maps are loaded as 8 bits
MANY_MAPS = 32  # without any class, from which on this is no chance


class SampleCheck:
    """Check of the samples of a dataset of mmseg or mmdet.

    Call it right after the annotations were loaded, while they have the size of their files. It
    checks that a label map has one channel, 8 bits, the size of its image and only labels of
    classes, that nothing has resized an image for training before, and
    that the entry of an image in a COCO file has the size of the image.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: Any) -> None:
        # In a test the image may be resized first: scores are those of the stored size.
        self.trains = not getattr(dataset, 'test_mode', False)
        self.known_files: set[str] = set()
        self.ignored_maps: int | None = 0  # so far; None once a label map had a class
        self.coco_file = str(dataset.ann_file) if hasattr(dataset, 'COCOAPI') else None
        self.classes, self.first, self.ignore_index = 0, 0, 255
        # Only mmseg's label maps hold class numbers; those of mmdet may hold other ones (stuff).
        if hasattr(dataset, 'label_map'):
            self.classes = len(dataset.metainfo.get('classes') or ())
            self.first = int(bool(dataset.reduce_zero_label))  # stored value of label 0
            self.ignore_index = dataset.ignore_index

    def __call__(self, sample: dict) -> None:
        """Check a sample.

        Raises:
            DataError: A file of the sample does not fit.
        """
        labels, shape = sample.get('gt_seg_map'), sample.get('ori_shape')
        if shape is None:
            return
        if labels is not None:
            file = str(sample.get('seg_map_path'))
            fault = (
                _shape_fault(labels, tuple(shape[:2]))
                or self._order_fault(labels, sample.get('img'))
                or self._wrapped_fault(file)
                or self._label_fault(labels)
            )
            if fault or (fault := self._ignored_fault(labels)):
                raise data_error(file, fault)
        elif self.coco_file and sample.get('instances'):
            entry = (sample.get('height'), sample.get('width'))
            if None not in entry and entry != tuple(shape[:2]):
                fault = f'the image is {_size(shape)} pixels, its entry in {self.coco_file} says '
                raise data_error(str(sample.get('img_path')), fault + _size(entry))

    def _ignored_fault(self, labels: np.ndarray) -> str | None:
        """Return a fault if all label maps so far have no pixel of a class, and are many."""
        if not self.trains or not self.classes or self.ignored_maps is None:
            return None
        if bool((labels != self.ignore_index).any()):
            self.ignored_maps = None
            return None
        self.ignored_maps += 1
        if self.ignored_maps < MANY_MAPS:
            return None
        return (
            f'has no pixel of a class, like the {self.ignored_maps - 1} label maps before it: all '
            f'are ignored ({self.ignore_index} after loading), so nothing would be learned; are '
            'the labels numbered as reduce_zero_label says?'
        )

    def _order_fault(self, labels: np.ndarray, image: Any) -> str | None:
        if not self.trains or not isinstance(image, np.ndarray) or image.shape[:2] == labels.shape:
            return None
        return (
            f'the label map is {_size(labels.shape)} pixels where the image has already become '
            f'{_size(image.shape)}; in the pipeline put LoadAnnotations right behind '
            'LoadImageFromFile'
        )

    def _wrapped_fault(self, file: str) -> str | None:
        """Return whether a label map stores labels that do not fit 8 bits, as it is loaded."""
        if file in self.known_files or not os.path.isfile(file):
            return None
        self.known_files.add(file)
        with Image.open(file) as stored:
            if stored.mode[0] not in 'IF':
                return None
            largest = float(np.asarray(stored).max())
        if largest <= MOST_LABEL:
            return None
        return (
            f'has the label {largest:g}, which wraps when it is loaded as 8 bits: expected 0 to 255'
        )

    def _label_fault(self, labels: np.ndarray) -> str | None:
        if not self.classes:
            return None
        if labels.dtype == np.uint8 and self.ignore_index == 255:
            if int((labels + np.uint8(1)).max()) <= self.classes:  # 255 + 1 becomes 0
                return None
        values = _values(labels)
        unknown = values[((values < 0) | (values >= self.classes)) & (values != self.ignore_index)]
        if len(unknown) == 0:
            return None
        stored = ', '.join(map(str, unknown[:5] + self.first))
        last = self.classes - 1 + self.first
        return (
            f'has the label {stored}: expected {self.first} to {last} for the {self.classes} '
            f'classes, or {self.ignore_index} (ignored)'
        )


def _shape_fault(labels: np.ndarray, shape: tuple[int, ...]) -> str | None:
    if labels.ndim != 2:
        return (
            f'the label map has {labels.shape[-1]} channels: expected one 8-bit channel with the '
            'class number; convert colors to class numbers first'
        )
    if labels.shape != shape:
        return f'the label map is {_size(labels.shape)} pixels, its image {_size(shape)}'
    return None


def _values(labels: np.ndarray) -> np.ndarray:
    """Return the different values of a label map."""
    if labels.dtype != np.uint8:
        return np.unique(labels)
    # A hundredth of the time of np.unique.
    pixels = cv2.calcHist([np.ascontiguousarray(labels)], [0], None, [256], [0, 256])
    return np.flatnonzero(pixels)


def _size(shape: Any) -> str:
    """Return a size (height, width) as width x height."""
    return f'{shape[1]} x {shape[0]}'
