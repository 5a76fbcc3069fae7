"""SIGTERM stops all ranks after the same step, and the run goes on from there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip('mmseg')
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('two_ranks')]


def log(work_dir: Path) -> str:
    return ''.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))


def test_a_sigterm_stops_both_ranks(upernet, start, launch, tmp_path):
    length = ['--cfg-options', 'train_cfg.val_interval=1000000']
    process = start(
        'dist_train.sh', upernet, '2', '--work-dir', str(tmp_path), *length,
        'train_cfg.max_iters=1000000', 'default_hooks.checkpoint.interval=1000000',
    )  # fmt: skip
    limit = time.monotonic() + 120
    while 'Iter(train)' not in log(tmp_path) and time.monotonic() < limit:
        time.sleep(0.1)
    process.terminate()
    process.communicate(timeout=60)
    (checkpoint,) = tmp_path.glob('iter_*.pth')
    step = int(checkpoint.stem.removeprefix('iter_'))
    assert f'stopped by SIGTERM after iteration {step} of' in log(tmp_path)
    assert (tmp_path / 'last.task.safetensors').is_file()
    printed = launch(
        'dist_train.sh', upernet, '2', '--work-dir', str(tmp_path), '--resume', *length,
        f'train_cfg.max_iters={step + 2}',
    )  # fmt: skip
    assert 'resumes exactly: random states of 2 rank(s)' in printed
