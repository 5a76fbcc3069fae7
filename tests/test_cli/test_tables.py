"""Tables of files whose texts a terminal or rich would take for commands."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from mmqadapter import inspect_task, save_task
from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.cli.tables import task_table
from mmqadapter.utils.terminal import SafeConsole

CLASSES: list[Any] = [None, [], ['[/b]', '[bold]x', 'a\x1b[31mb'], ['街']]


@pytest.mark.parametrize('classes', CLASSES, ids=str)
def test_texts_of_a_file_are_shown_as_they_are(
    classes, tiny_timm_vit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would be broken into lines
    path = Path('runs[v1]', '[/x].task.safetensors')
    model = AdaptedBackbone(tiny_timm_vit(), dict(type='LoRA', rank=2))
    save_task(model, path, dataset_meta={'classes': classes})
    page = io.StringIO()
    SafeConsole(width=400, file=page).print(task_table(str(path), inspect_task(path)))
    shown = page.getvalue()
    assert '[/x].task.safetensors' in shown and 'runs[v1]' in shown
    for name in classes or []:
        assert name.replace('\x1b', '\\x1b') in shown
    assert '\x1b' not in shown
