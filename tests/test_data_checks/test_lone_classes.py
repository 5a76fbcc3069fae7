"""Classes that are likely mistakes: of few objects in train only, or with nearly equal names."""

from __future__ import annotations

import pytest

from mmqadapter.data_checks.config import collect_problems
from mmqadapter.data_checks.problem import Scan


def found(train: dict[str, int], val: dict[str, int], unit: str = 'instances') -> list[tuple]:
    scans = [
        Scan(split, unit, tuple(counts), counts, images=9)  # type: ignore[arg-type]
        for split, counts in (('train', train), ('val', val))
    ]
    return [
        (item.severity, item.kind, item.where, item.message) for item in collect_problems(scans)
    ]


def test_a_misspelled_class_is_named() -> None:
    assert found({'nucleus': 1304, 'nuclues': 1}, {'nucleus': 119, 'nuclues': 0}) == [
        (
            'warning', 'rare class', 'nuclues',
            'has 1 instance, in train only, so it is hardly learned and not scored; check the '
            'name, or add some',
        ),
        (
            'warning', 'similar names', 'nucleus',
            "is nearly the name of the class 'nuclues' (1,423 and 1 instances); if they are one, "
            'correct the annotations',
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('train', 'val', 'unit', 'kinds'),
    [
        (5, 0, 'instances', ['rare class']),
        (5, 0, 'images', ['rare class']),
        (5, 0, 'pixels', []),
        (6, 0, 'instances', []),
        (5, 1, 'instances', []),
        (0, 5, 'instances', ['class only in val']),
    ],
)
def test_rare_classes(train: int, val: int, unit: str, kinds: list[str]) -> None:
    problems = found({'cat': 90, 'stone': train}, {'cat': 9, 'stone': val}, unit)
    assert [kind for _, kind, _, _ in problems] == kinds


@pytest.mark.parametrize(
    ('first', 'second', 'near'),
    [
        ('nucleus', 'nuclues', True),
        ('car', 'cars', True),
        ('Car', 'car', True),
        ('traffic_light', 'traffic light', True),
        ('traffic light', 'trafic light', True),
        ('class_1', 'class_2', False),
        ('color_ff0000', 'color_fe0000', False),
        ('arrow (left)', 'arrow (right)', False),
        ('truck', 'train', False),
    ],
)
def test_similar_names(first: str, second: str, near: bool) -> None:
    counts = {first: 90, second: 90}
    assert [kind for _, kind, _, _ in found(counts, counts)] == ['similar names'] * near
