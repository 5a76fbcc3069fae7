from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent.parent / 'tools' / 'demo.py'


@pytest.mark.slow
@pytest.mark.parametrize('task', ['seg', 'det'])
def test_a_short_demo_compares_three_methods(task: str, tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), '--task', task, '--out', str(tmp_path)]
    subprocess.run([*command, '--iterations', '3'], check=True, timeout=600)
    rows = json.loads((tmp_path / task / 'report.json').read_text())
    assert [row['method'] for row in rows] == ['frozen', 'adapted', 'full']
    assert (tmp_path / task / 'adapted' / 'last.task.safetensors').is_file()
    assert all(row['saved_for_backward_bytes'] > 0 for row in rows)
    for picture in ('comparison.png', 'overlays.png'):
        assert (tmp_path / task / picture).stat().st_size > 10_000
    shutil.rmtree(tmp_path / task)
