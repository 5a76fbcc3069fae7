"""Joining of shapes that annotation tools group into one object."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from mmqadapter.own_data.geometry import box_of
from mmqadapter.own_data.samples import Instance


def join_groups(shapes: Iterable[tuple[Hashable | None, Instance]]) -> list[Instance]:
    """Return one instance for all shapes of the same label and group.

    Outlines of a group are parts of one object; a box beside them adds nothing. Masks stay apart.

    Args:
        shapes: Pairs of a group, or None for a shape of its own, and the shape.
    """
    groups: dict[Hashable, list[Instance]] = {}
    for number, (group, shape) in enumerate(shapes):
        alone = group is None or shape.rle is not None
        key = ('alone', number) if alone else ('group', group, shape.label)
        groups.setdefault(key, []).append(shape)
    return [instance for members in groups.values() for instance in _joined(members)]


def _joined(members: list[Instance]) -> list[Instance]:
    polygons = tuple(polygon for member in members for polygon in member.polygons)
    if not polygons:
        return members
    return [Instance(members[0].label, box_of(polygons), polygons)]
