"""--render rebuilds a report from its report.json and does nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_runs import ROOT, tool

RESULTS = ROOT / 'benchmarks/results'
FOLDERS = {'benchmark': 'cpu_report/mask-rcnn_swin-t', 'sweep': 'sweep_camvid'}


@pytest.mark.parametrize('name', FOLDERS)
def test_a_committed_report_is_rebuilt(name: str, tmp_path: Path, capsys) -> None:
    committed = RESULTS / FOLDERS[name]
    shutil.copy(committed / 'report.json', tmp_path)
    with pytest.raises(SystemExit) as stop:
        tool(name)(['--render', str(tmp_path)])
    assert stop.value.code == 0
    assert f'Written: {tmp_path / "report.md"}, ' in capsys.readouterr().out
    assert (tmp_path / 'report.md').read_text() == (committed / 'report.md').read_text()
    assert '<svg' in (tmp_path / 'report.html').read_text()


@pytest.mark.parametrize('name', FOLDERS)
def test_a_folder_without_report_is_an_error_in_one_line(name: str, tmp_path: Path, capsys) -> None:
    assert tool(name)(['--render', str(tmp_path)]) == 1
    assert 'report.json' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
