"""A segmentor learns the class scores of another, if both normalize images alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import Run, tool

HOOK = """
_base_ = {base!r}
model = dict(backbone=dict(adapter=dict(width=2)))
{more}
custom_hooks = [*_base_.custom_hooks, dict(
    type='mmqadapter.DistillationHook', config={base!r}, weights={task!r},
    layer='decode_head.conv_seg')]
"""


def write_config(folder: Path, teacher: Run, more: str = '') -> Path:
    path = folder / 'student.py'
    path.write_text(HOOK.format(base=teacher.config, task=teacher.task, more=more))
    return path


def test_a_segmentor_trains_with_a_teacher(semantic: Run, tmp_path: Path) -> None:
    config = write_config(tmp_path, semantic)
    assert tool('train')([str(config), '--work-dir', str(tmp_path / 'work')]) == 0
    log = next((tmp_path / 'work').rglob('scalars.json')).read_text().splitlines()
    losses = [json.loads(line).get('loss_distillation') for line in log]
    assert len([loss for loss in losses if loss is not None and loss > 0]) == 4
    task = str(tmp_path / 'work/last.task.safetensors')
    assert tool('test')([str(config), task, '--work-dir', str(tmp_path / 'test')]) == 0


def test_a_teacher_with_other_normalization_is_refused(
    semantic: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    more = 'model.update(data_preprocessor=dict(mean=[1.0] * 3, std=[2.0] * 3))'
    config = write_config(tmp_path, semantic, more)
    assert tool('train')([str(config), '--work-dir', str(tmp_path / 'work')]) == 1
    assert 'its data_preprocessor differ from those' in capsys.readouterr().err
