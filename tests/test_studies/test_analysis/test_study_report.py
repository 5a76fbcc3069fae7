from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from mmqadapter.studies.analysis.evaluation import score_name, score_of
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
    found = [number(value) for value in (12345, 0.000123456, 1.0, None, math.nan)]
    assert found == ['12,345', '0.0001235', '1', '-', '-']
    assert finite((1, 'a', {'b': math.inf})) == [1, 'a', {'b': None}]


def test_the_metric_of_a_study() -> None:
    assert score_name({'aAcc': 1.0, 'mIoU': 2.0}, None) == 'mIoU'
    assert score_name({'coco/bbox_mAP': 1.0, 'coco/segm_mAP': 2.0}, None) == 'coco/segm_mAP'
    assert score_name({'accuracy': 1.0}, None) == 'accuracy'
    assert score_name({'aAcc': 1.0, 'mIoU': 2.0}, 'aAcc') == 'aAcc'
    with pytest.raises(ValueError, match=r"score='AP' is not evaluated; there are aAcc, mIoU"):
        score_name({'aAcc': 1.0, 'mIoU': 2.0}, 'AP')
    with pytest.raises(ValueError, match='the model finds nothing'):
        score_name({}, None)


def test_a_detector_that_finds_nothing_scores_zero() -> None:
    assert score_of({}, 'coco/segm_mAP') == 0 and score_of({'mIoU': 3.0}, 'mIoU') == 3
