from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from mmqadapter.studies.analysis.evaluation import choose_metric, metric_value
from mmqadapter.studies.analysis.report import Study, finite, number, write_study


def test_files_of_a_study(tmp_path: Path) -> None:
    header = {'models': [{'model': 'adapters', 'file': 'a'}], 'sigmas': [0.0, 0.5]}
    rows = [{'loss': math.nan, 'line': [1.0, math.inf]}]
    figures = {'line': Figure()}
    study = Study('noise', 'Noise', header, rows, [{'loss': '-'}], 'What it means.', figures)
    files = write_study(study, tmp_path / 'out')
    names = ['noise.json', 'noise.md', 'noise_line.png', 'noise_line.svg']
    assert [path.name for path in files] == names
    content = json.loads((tmp_path / 'out/noise.json').read_text())
    assert content['rows'] == [{'loss': None, 'line': [1.0, None]}]
    page = (tmp_path / 'out/noise.md').read_text()
    for text in ('# Noise', '| loss |', 'What it means.', '- model: model adapters, file a'):
        assert text in page
    assert '- sigmas: 0.0, 0.5' in page


def test_numbers_as_text() -> None:
    texts = [number(value) for value in (12345, 0.000123456, 1.0, None, math.nan)]
    assert texts == ['12,345', '0.0001235', '1', '-', '-']
    assert finite((1, 'a', {'b': math.inf})) == [1, 'a', {'b': None}]


def test_choice_of_the_metric() -> None:
    assert choose_metric({'aAcc': 1.0, 'mIoU': 2.0}, None) == 'mIoU'
    assert choose_metric({'coco/bbox_mAP': 1.0, 'coco/segm_mAP': 2.0}, None) == 'coco/segm_mAP'
    assert choose_metric({'accuracy': 1.0}, None) == 'accuracy'
    assert choose_metric({'aAcc': 1.0, 'mIoU': 2.0}, 'aAcc') == 'aAcc'
    with pytest.raises(ValueError, match=r"score='AP' is invalid: expected one of aAcc, mIoU"):
        choose_metric({'aAcc': 1.0, 'mIoU': 2.0}, 'AP')
    with pytest.raises(ValueError, match='the model finds nothing'):
        choose_metric({}, None)


def test_missing_metric_is_zero() -> None:
    assert metric_value({}, 'coco/segm_mAP') == 0 and metric_value({'mIoU': 3.0}, 'mIoU') == 3
