from __future__ import annotations

from typing import Any

import pytest

from mmqadapter.data_checks.outputs import output_problems

CLASSES = ('a', 'b', 'c')
MASK_RCNN: dict[str, Any] = dict(
    type='MaskRCNN',
    backbone=dict(backbone=dict(num_classes=0)),
    rpn_head=dict(num_classes=1),
    roi_head=dict(
        bbox_head=[dict(num_classes=3), dict(num_classes=2)], mask_head=dict(num_classes=5)
    ),
)


def test_heads_with_other_numbers_of_outputs_are_named() -> None:
    found = output_problems(MASK_RCNN, CLASSES)
    assert [(problem.severity, problem.where) for problem in found] == [
        ('error', 'model.roi_head.bbox_head[1]'),
        ('warning', 'model.roi_head.mask_head'),
    ]
    assert 'num_classes = 2, the data has 3 classes' in found[0].message


@pytest.mark.parametrize('model', [None, {}, dict(decode_head=dict(num_classes=3))])
def test_no_model_and_one_that_fits(model: dict | None) -> None:
    assert output_problems(model, CLASSES) == []
