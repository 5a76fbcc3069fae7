"""tools/task.py import-peft and export-peft."""

from __future__ import annotations

from pathlib import Path

from loras import adapted, task_of, trunk_file
from tiny_runs import tool

NET = ['--model', 'vit_tiny_patch16_224', '--model-args']
NET += ['img_size=64', 'embed_dim=16', 'depth=3', 'num_heads=2', 'out_indices=[0,2]']


def task(*args: str | Path) -> int:
    return tool('task')([str(arg) for arg in args])


def test_export_and_import(capsys, tmp_path: Path) -> None:
    trunk, folder = trunk_file('timm_vit', tmp_path), tmp_path / 'peft'
    source, out = task_of(adapted('timm_vit', trunk), tmp_path), tmp_path / 'o.task.safetensors'
    assert task('export-peft', source, folder, *NET) == 0
    output = capsys.readouterr().out
    assert 'LoRA for vit_tiny_patch16_224' in output and 'Left out' not in output
    assert task('import-peft', folder, '--out', out, '--checkpoint', trunk, *NET) == 0
    output = capsys.readouterr().out
    assert f'{out.stat().st_size:,} bytes' in output and "'targets': ['q', 'v']" in output
    assert out.read_bytes() == source.read_bytes()


def test_mistakes_are_reported_in_one_line(capsys, tmp_path: Path) -> None:
    out = tmp_path / 'o.task.safetensors'
    assert task('import-peft', tmp_path / 'none', '--out', out, *NET) == 1
    assert 'there is no folder' in capsys.readouterr().err
    source = task_of(adapted('timm_vit'), tmp_path)
    assert task('export-peft', source, tmp_path / 'peft', *NET) == 0
    assert task('import-peft', tmp_path / 'peft', '--out', out, '--checkpoint', 'x', *NET) == 1
    assert "'x' is not a file" in capsys.readouterr().err
    assert task('import-peft', tmp_path / 'peft', '--out', out, '--model', 'vit_none') == 1
    assert "model_name='vit_none' is invalid: timm does not know it" in capsys.readouterr().err
    assert task('export-peft', out, tmp_path / 'new', *NET) == 1
    assert 'there is no task file' in capsys.readouterr().err
    assert not out.exists() and not (tmp_path / 'new').exists()
