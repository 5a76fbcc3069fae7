"""All that is prepared for a GPU, at toy size on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import ROOT

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
PARTS = {'tests': 'tests.log', 'trunk': 'trunk/report.json', 'batching': 'batching/report.json'}
PARTS |= {'compiled': 'compiled/report.json', 'camvid': 'camvid/seg/report.json'}


def report(out: Path, **variables: str) -> subprocess.CompletedProcess:
    settings = dict(OUT=str(out), DEVICE='cpu', SIZE='toy', PYTHON=sys.executable, **variables)
    script = ROOT / 'benchmarks/gpu_report.sh'
    return subprocess.run(
        [script], env={**os.environ, **settings}, capture_output=True, text=True, cwd=ROOT
    )


def ended(out: Path) -> dict[str, int]:
    lines = map(json.loads, (out / 'parts.jsonl').read_text().splitlines())
    return {line['part']: line['status'] for line in lines}


@pytest.mark.slow
def test_every_part_runs_and_is_saved(tmp_path: Path) -> None:
    done = report(tmp_path)
    assert done.returncode == 0, done.stdout
    assert ended(tmp_path) == dict.fromkeys(['tests', 'peaks', *list(PARTS)[1:]], 0)
    for name in (*PARTS.values(), 'peaks/demo_seg/report.json', 'peaks/demo_det/report.json'):
        assert (tmp_path / name).is_file(), name
    for kind in ('demo_seg', 'demo_det'):
        rows = json.loads((tmp_path / f'peaks/{kind}/report.json').read_text())['rows']
        assert [row['method'] for row in rows] == ['full', 'highway-joined@1']
        for row in rows:
            assert row['step_seconds'] > 0
            assert 0.8 < row['foretold_over_measured'] < 1.2


def test_a_part_that_fails_stops_no_other(tmp_path: Path) -> None:
    broken = tmp_path / 'python'
    broken.write_text('#!/bin/sh\ncase "$*" in *trunk*) exit 3;; esac\n')
    broken.chmod(0o755)
    out = tmp_path / 'out'
    settings = dict(OUT=str(out), PYTHON=str(broken), SIZE='toy', PARTS='trunk batching')
    script = ROOT / 'benchmarks/gpu_report.sh'
    done = subprocess.run([script], env={**os.environ, **settings}, capture_output=True)
    assert done.returncode == 1
    assert ended(out) == {'trunk': 3, 'batching': 0}
