"""Boxes and areas of outlines."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmqadapter.own_data.samples import Box, Polygon

ELLIPSE_POINTS = 64


def box_of(polygons: Sequence[Polygon]) -> Box:
    """Return the COCO box (x, y, width, height) around polygons, in pixels."""
    xs = [x for polygon in polygons for x in polygon[0::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def polygon_area(polygon: Polygon) -> float:
    """Return the area of a polygon in square pixels (shoelace formula)."""
    xs, ys = polygon[0::2], polygon[1::2]
    pairs = zip(xs, ys, (*xs[1:], xs[0]), (*ys[1:], ys[0]), strict=True)
    return abs(sum(x * next_y - next_x * y for x, y, next_x, next_y in pairs)) / 2


def rectangle(x: float, y: float, width: float, height: float) -> Polygon:
    """Return the outline of a box."""
    return x, y, x + width, y, x + width, y + height, x, y + height


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Polygon:
    """Return an outline of 64 points of an ellipse around (x, y)."""
    angles = [2 * math.pi * step / ELLIPSE_POINTS for step in range(ELLIPSE_POINTS)]
    return tuple(
        value
        for angle in angles
        for value in (x + radius_x * math.cos(angle), y + radius_y * math.sin(angle))
    )
