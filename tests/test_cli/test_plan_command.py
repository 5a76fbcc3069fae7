from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import Run, tool


@pytest.mark.parametrize('kind', ['semantic', 'instances'])
def test_the_plan_knows_the_file_that_training_wrote(kind, request, capsys) -> None:
    run: Run = request.getfixturevalue(kind)
    capsys.readouterr()
    options = ['--max-bytes', '64K', '--widths', '4', '--head-bits', '32', '--json']
    assert tool('task')(['plan', run.config, *options]) == 0
    plan = json.loads(capsys.readouterr().out)
    (one,) = (one for one in plan['fits'] + [plan['nearest']] if one and one['bits'] == 1)
    assert one['file_bytes'] == Path(run.task).stat().st_size
    summary = json.loads((run.work_dir / 'summary.json').read_text())
    assert one['trainable_parameters'] == summary['trainable_params']
    assert one['adapter_bytes'] == summary['adapter_bytes']


def test_the_table_and_what_nearly_fits(semantic: Run, capsys) -> None:
    args = ['plan', semantic.config, '--max-bytes', '160', '--of', 'adapters', '--widths', '2', '4']
    assert tool('task')([*args, '--all']) == 0
    output = ' '.join(capsys.readouterr().out.split())
    assert 'tiny.py: adapters of at most 160 bytes' in output and '100%' in output
    # Twice as many weights at half the bits take the same.
    assert 'Nearest that does not fit: width 4 at 4 bits, head at 32: 256 bytes' in output
    assert '96 too many' in output


def test_bad_sizes_are_reported(semantic: Run, capsys) -> None:
    assert tool('task')(['plan', semantic.config, '--max-bytes', 'much']) == 1
    assert capsys.readouterr().err.startswith("ValueError: the size 'much' is invalid")
