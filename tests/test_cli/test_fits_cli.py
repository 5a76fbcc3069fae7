"""``mmqadapter fits``, on tiny configs."""

from __future__ import annotations

import json
import re

import pytest
from old_torch import needs_torch
from tiny_runs import Run, tool

QUICK = ('--methods', 'frozen', '--memory', '660MB')


@needs_torch(2, 6, 'foretelling memory')
@pytest.mark.parametrize('kind', ['semantic', 'instances'])
def test_which_methods_fit(kind: str, request, tmp_path, capsys) -> None:
    run: Run = request.getfixturevalue(kind)
    out = tmp_path / 'fits.json'
    capsys.readouterr()
    assert tool('fits')([run.config, *QUICK, '--image-size', '64', '96', '--json', str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == '1 of 1: frozen'
    shown = printed.out
    assert 'frozen' in shown and '64 x 96 pixels, on 0.7 GB' in shown
    assert f'mmqadapter benchmark {run.config} --methods frozen --image-size 64 96' in shown
    report = json.loads(out.read_text())
    (row,) = report['rows']
    assert report['header']['memory_bytes'] == 66 * 10**7 and report['header']['batch'] == 2
    assert row['method'] == 'frozen' and row['frozen_bytes'] > 0
    for precision in ('float32', 'amp'):
        needs = row[precision]
        assert 0 < needs['peak_bytes'] < needs['needed_bytes'] < needs['needed_bytes_ddp']
        assert 0 < needs['max_batch_ddp'] <= needs['max_batch']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--gpu', 'Voodoo 2'], "ValueError: gpu='Voodoo 2' is invalid: expected a known name"),
        (['--memory', '11'], "ValueError: memory='11' is invalid: expected a size such as 11GB"),
        (['--memory', 'much'], "ValueError: memory='much' is invalid"),
        (['--memory', '2GB', '--methods', 'none'], "ValueError: method='none' is invalid"),
        (['--memory', '2GB', '--image-size', '1', '2', '3'], 'ValueError: --image-size'),
        (['--memory', '2GB', '--batch-size', '-1'], 'ValueError: batch_size=-1 is invalid'),
    ],
)
def test_bad_input_is_reported_in_one_line(semantic: Run, capsys, options, message) -> None:
    capsys.readouterr()
    assert tool('fits')([semantic.config, *options]) == 1
    assert re.match(message, capsys.readouterr().err.strip().splitlines()[-1])
