"""An evaluator reads the annotations of the dataset that is predicted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config
from tiny_runs import Run, fresh_globals, instances

from mmqadapter.engine.evaluator_files import check_evaluator_files
from mmqadapter.engine.runner import load_config

__all__ = ['fresh_globals', 'instances']


def config(run: Run, file: str) -> Config:
    cfg = load_config(run.config)
    cfg.val_evaluator = [dict(cfg.val_evaluator, ann_file=file)]
    return cfg


def annotation_file(run: Run) -> Path:
    return run.images.parent / 'instances.json'


def test_the_same_file_or_a_copy_passes(instances: Run, tmp_path: Path) -> None:
    copied = tmp_path / 'copy.json'
    copied.write_bytes(annotation_file(instances).read_bytes())
    for file in (str(annotation_file(instances)), str(copied), str(tmp_path / 'absent.json')):
        check_evaluator_files(config(instances, file), 'val')


def test_another_file_is_refused(instances: Run, tmp_path: Path) -> None:
    content = json.loads(annotation_file(instances).read_text())
    content['annotations'].pop()
    other = tmp_path / 'other.json'
    other.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'val_evaluator\.ann_file=.* is another file'):
        check_evaluator_files(config(instances, str(other)), 'val')


def test_label_maps_have_no_annotation_file(instances: Run) -> None:
    cfg = load_config(instances.config)
    cfg.val_evaluator = None
    check_evaluator_files(cfg, 'val')
    check_evaluator_files(Config(dict()), 'val')
