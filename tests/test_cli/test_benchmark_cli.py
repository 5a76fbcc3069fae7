from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tiny_runs import ROOT, Run, tool

QUICK = ('--steps', '1', '--warm-up', '0', '--batch-size', '1', '--device', 'cpu')


def benchmark(run: Run, out: Path, *args: str) -> int:
    return tool('benchmark')([run.config, '--out', str(out), *QUICK, *args])


@pytest.mark.parametrize('kind', ['semantic', 'instances'])
def test_a_report_of_a_config_with_a_wrapped_backbone(kind, request, tmp_path, capsys) -> None:
    run: Run = request.getfixturevalue(kind)
    size = ('--image-size', '64', '96')
    assert benchmark(run, tmp_path, '--methods', 'full,frozen,highway@1', *size) == 0
    report = json.loads((tmp_path / 'report.json').read_text())
    assert [row['method'] for row in report['rows']] == ['full', 'frozen', 'highway@1']
    assert report['header']['image_size'] == [64, 96]
    assert report['header']['config'] == 'tiny.py'
    shown = capsys.readouterr().out
    assert 'highway@1' in shown and str(tmp_path / 'report.html') in shown


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--methods', 'full,none'], "ValueError: method='none' is invalid: expected one of full"),
        (['--methods', 'full', '--image-size', '1', '2', '3'], 'ValueError: --image-size'),
        (['--methods', 'full', '--find-max-batch', 'much'], "ValueError: memory='much' is invalid"),
        (['--methods', 'full', '--steps', '0'], 'ValueError: steps=0'),
        (
            ['--real-data', '--cfg-options', 'train_dataloader.dataset.data_root=no/data'],
            'FileNotFoundError: .*no/data',
        ),
    ],
)
def test_bad_input_is_reported_in_one_line(
    semantic: Run, tmp_path, capsys, options, message
) -> None:
    capsys.readouterr()
    assert benchmark(semantic, tmp_path / 'out', *options) == 1
    assert re.match(message, capsys.readouterr().err.strip().splitlines()[-1])
    assert not (tmp_path / 'out').exists()


def test_the_script_of_detectors_takes_config_and_folder_as_variables(tmp_path: Path) -> None:
    echo = tmp_path / 'python'
    echo.write_text('#!/bin/sh\necho "$@"\n')
    echo.chmod(0o755)
    variables = {**os.environ, 'PYTHON': str(echo), 'OUT': str(tmp_path / 'out'), 'STEPS': '3'}
    script = ROOT / 'benchmarks/detectors.sh'

    def words(**more: str) -> list[str]:
        done = subprocess.run([script], env={**variables, **more}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    lines = words()
    assert len(lines) == 3 and all('--amp' in line and '--steps 3' in line for line in lines)
    assert '--image-size 800 1333 --batch-size 2' in lines[0]
    for line in lines:
        assert (ROOT / line.split()[1]).is_file()
    assert 'embed_dims=192' in lines[2]
    (line,) = words(CONFIG='my.py', AMP='', DEVICE='cpu', IMAGE_SIZE='64 96', OPTIONS='a=1 b=2')
    assert line.split()[1:4] == ['my.py', '--out', str(tmp_path / 'out')]
    assert '--amp' not in line and '--image-size 64 96' in line
    assert line.endswith('--device cpu --cfg-options a=1 b=2')
