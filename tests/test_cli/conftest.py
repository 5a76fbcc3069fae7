from __future__ import annotations

import json
from pathlib import Path

import pytest
from quantized_runs import few, upernet
from tiny_runs import forget, fresh_globals, instances, semantic, tool

__all__ = ['few', 'fresh_globals', 'instances', 'semantic', 'upernet']


@pytest.fixture
def evaluate_config(tmp_path: Path):
    """``evaluate_config(config, weights)``: the metrics that tools/test.py logs."""

    def call(config: str, weights: str | Path) -> dict[str, float]:
        forget()
        out = tmp_path / f'run{len(list(tmp_path.iterdir()))}'
        assert tool('test')([config, str(weights), '--work-dir', str(out)]) == 0
        (log,) = out.glob('*/*.json')
        return {k: v for k, v in json.loads(log.read_text()).items() if not k.endswith('time')}

    return call


@pytest.fixture
def run_task(capsys):
    """``run_task(...)``: exit status, output and last error line of tools/task.py."""

    def call(*args: str | Path) -> tuple[int, str, str]:
        forget()
        capsys.readouterr()
        status = tool('task')([str(arg) for arg in args])
        printed = capsys.readouterr()
        return status, printed.out, (printed.err.strip().splitlines() or [''])[-1]

    return call
