"""tools/task.py import-petl and export-petl."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from released import TINY
from tiny_runs import tool

from mmqadapter.backbones.timm_net import build_timm

Release = Callable[..., tuple[Path, Path]]


def task(*args: str | Path) -> int:
    return tool('task')([str(arg) for arg in args])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    config: dict[str, Any] = dict(TINY.config)
    torch.save(build_timm(**config).state_dict(), tmp_path / 'trunk.pth')
    return tmp_path / 'trunk.pth'


def test_import_without_out_prints_the_settings(release: Release, capsys, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    assert task('import-petl', *release(method='lora-bihead')) == 0
    output = capsys.readouterr().out
    for text in ('lora-bihead', 'toy', '10.0', '192', '18', '12'):
        assert text in output
    assert set(tmp_path.iterdir()) - before == {tmp_path / 'toy.bin', tmp_path / 'toy.yaml'}


def test_import_and_export(release: Release, weights: Path, capsys, tmp_path: Path) -> None:
    binary, settings = release()
    out = tmp_path / 'toy.task.safetensors'
    assert task('import-petl', binary, settings, '--out', out, '--checkpoint', weights) == 0
    assert f'{out}: {out.stat().st_size:,} bytes' in capsys.readouterr().out.replace('\n', '')
    assert task('verify', out) == 0
    assert task('export-petl', out, tmp_path / 'b.bin', tmp_path / 'b.yaml') == 0
    assert (tmp_path / 'b.bin').read_bytes() == binary.read_bytes()
    assert (tmp_path / 'b.yaml').read_bytes() == settings.read_bytes()


def test_mistakes_are_reported_in_one_line(release: Release, capsys, tmp_path: Path) -> None:
    binary, settings = release()
    assert task('import-petl', settings, binary) == 1
    assert 'give the .yaml file' in capsys.readouterr().err
    assert task('import-petl', binary, settings, '--checkpoint', 'x') == 1
    assert '--checkpoint needs --out' in capsys.readouterr().err
    out = tmp_path / 'o.safetensors'
    assert task('import-petl', binary, settings, '--out', out, '--checkpoint', 'x') == 1
    assert "'x' is not a file" in capsys.readouterr().err
    assert not out.exists()
    assert task('export-petl', binary, tmp_path / 'b.bin', tmp_path / 'b.yaml') == 1
    assert 'truncated or damaged' in capsys.readouterr().err
