"""Name of a machine: processor, kernels, PyTorch and threads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmqadapter.utils import machine

CPU_INFO = """processor\t: 0
cpu family\t: 6
model\t\t: 143
model name\t: Some CPU @ 2.00GHz
stepping\t: 8

processor\t: 1
model name\t: Some CPU @ 2.00GHz
"""


@pytest.mark.parametrize(
    ('text', 'processor'), [(CPU_INFO, 'Some CPU @ 2.00GHz (6-143-8)'), (None, 'unknown')]
)
def test_everything_that_results_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, processor: str
) -> None:
    if text is not None:
        (tmp_path / 'cpuinfo').write_text(text)
    monkeypatch.setattr(machine, 'CPU_INFO', tmp_path / 'cpuinfo')
    monkeypatch.setattr(machine.platform, 'processor', lambda: 'unknown')
    kernels, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    expected = f'{processor}, {kernels}, torch {torch.__version__}, {threads} threads'
    assert machine.machine_name(torch.device('cpu')) == expected
