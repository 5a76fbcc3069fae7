"""A demo of a few steps, and the files that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tiny_runs import ROOT, fresh_globals  # noqa: F401

from mmqadapter import inspect_task
from mmqadapter.studies.demo import run


@pytest.mark.slow
@pytest.mark.parametrize('task', ['seg', 'det'])
def test_demo(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(run, 'COUNTS', {'train': 8, 'val': 4})
    stale = tmp_path / task / 'frozen' / 'old.txt'
    stale.parent.mkdir(parents=True)
    stale.touch()
    rows = run.run_demo(task, tmp_path, ROOT / 'configs', iterations=2)
    folder = tmp_path / task

    frozen, highway, in_path, full = rows
    assert [row['method'] for row in rows] == ['frozen', 'highway', 'in_path', 'full']
    assert frozen['adapter_bytes'] == 0 < in_path['adapter_bytes'] < 32_000
    assert highway['task_bytes'] < frozen['task_bytes'] / 4  # neck and head have 4 bits
    assert in_path['task_bytes'] < full['model_bytes'] / 4 == full['task_bytes'] / 4
    memory = [row['saved_for_backward_bytes'] for row in rows]
    assert memory == sorted(memory)
    assert all(row['step_seconds'] > 0 for row in rows)
    assert all(len(row['losses']) == 2 for row in rows)

    assert not stale.exists()
    assert json.loads((folder / 'report.json').read_text()) == rows
    assert len((folder / 'report.md').read_text().splitlines()) == 6
    for name in ('comparison.png', 'overlays.png'):
        assert min(Image.open(folder / name).size) > 200
    task_file = inspect_task(folder / 'in_path' / 'last.task.safetensors')
    assert task_file['bytes']['file'] == in_path['task_bytes']
    printed = capsys.readouterr().out
    assert 'highway, 1 bit' in printed and 'overlays.png' in printed
