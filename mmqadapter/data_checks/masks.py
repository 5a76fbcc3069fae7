"""Checks of one COCO annotation: its box, and its mask as polygons or run lengths."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask


def box_fault(ann: dict, width: int, height: int) -> str:
    """Return why mmdet would drop this instance or crash on it; empty if the box is valid.

    Args:
        ann: COCO annotation with ``bbox`` (x, y, width, height in pixels) and ``area``.
        width: Image width in pixels.
        height: Image height in pixels.
    """
    box = ann['bbox']
    if not is_box(box):
        return f'bbox {box} is not four finite numbers (x, y, width, height)'
    x, y, w, h = box
    if w < 1 or h < 1:
        return f'bbox {box} is narrower than one pixel'
    if min(x + w, width) <= max(x, 0) or min(y + h, height) <= max(y, 0):
        return f'bbox {box} lies outside the {width} x {height} image'
    if not ann['area'] > 0:
        return f'area is {ann["area"]}, so mmdet drops the instance'
    return ''


def is_box(box: list) -> bool:
    """Return whether a box is four finite numbers."""
    return len(box) == 4 and all(map(_is_finite, box))


def is_polygon(numbers: Sequence) -> bool:
    """Return whether numbers are the coordinates x, y of three points or more."""
    return len(numbers) >= 6 and len(numbers) % 2 == 0


def mask_fault(segmentation: Any, width: int, height: int) -> str:
    """Return why a segmentation is unusable; empty if it decodes to at least one pixel.

    Args:
        segmentation: List of polygons, or run lengths (``size``, ``counts``).
        width: Image width in pixels.
        height: Image height in pixels.
    """
    try:
        if isinstance(segmentation, dict):
            area = _run_length_area(segmentation, width, height)
        else:
            area = _polygon_area(segmentation, width, height)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        return f'the mask does not decode: {error}'
    return '' if area else 'the mask is empty (covers no pixel)'


def mask_bounds(segmentation: Any) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 around a mask in which :func:`mask_fault` finds no fault."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation['counts'], list):
            segmentation = coco_mask.frPyObjects(segmentation, *segmentation['size'])
        x, y, width, height = coco_mask.toBbox(segmentation).tolist()
        return x, y, x + width, y + height
    polygons = [np.asarray(numbers, float) for numbers in segmentation if is_polygon(numbers)]
    points = [polygon.reshape(-1, 2) for polygon in polygons]
    (x1, y1), (x2, y2) = (f(np.concatenate(points), axis=0).tolist() for f in (np.min, np.max))
    return x1, y1, x2, y2


def run_lengths(counts: str | bytes | list[int]) -> list[int]:
    """Return the run lengths of a COCO mask.

    A string encodes them in groups of 5 bits, from the third on as differences. pycocotools decodes
    run lengths that end too early into uninitialized memory, without an error; read here, they can
    be summed.
    """
    if isinstance(counts, list):
        return counts
    runs: list[int] = []
    value, shift = 0, 0
    for byte in counts.encode() if isinstance(counts, str) else counts:
        group = byte - 48
        value |= (group & 31) << shift
        shift += 5
        if group & 32:  # more groups of this number follow
            continue
        if group & 16:  # negative
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    return runs


def _run_length_area(segmentation: dict, width: int, height: int) -> int:
    if list(segmentation['size']) != [height, width]:
        raise ValueError(
            f'its size (height, width) is {segmentation["size"]}, the image {[height, width]}'
        )
    runs = run_lengths(segmentation['counts'])
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f'its run lengths cover {sum(runs)} of {height * width} pixels')
    return sum(runs[1::2])


def _polygon_area(polygons: list, width: int, height: int) -> int:
    arrays = [np.asarray(polygon, dtype=float) for polygon in polygons if is_polygon(polygon)]
    if not arrays:
        raise ValueError('no polygon has three points (six numbers)')
    limit = 10 * max(width, height)  # pycocotools would need gigabytes for far coordinates
    if not all(np.abs(array).max() <= limit for array in arrays):
        raise ValueError('a polygon has coordinates that are not finite or far outside the image')
    runs = coco_mask.frPyObjects([array.tolist() for array in arrays], height, width)
    return int(coco_mask.area(coco_mask.merge(runs)))


def _is_finite(value: Any) -> bool:
    # An integer may be too long for a float.
    return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max
