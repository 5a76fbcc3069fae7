"""Mask R-CNN on real nuclei: the losses with our operators are those with mmcv's.

They are equal bit for bit until two boxes have equal scores: ours keeps the first, the compiled
`nms` may keep another, and from then on the two trainings sample other boxes here and there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_finder import COMPILED, prepended
from tiny_runs import ROOT

STEPS = 8
EQUAL = 3  # steps before the first equal scores, with this seed
OPTIONS = [
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    f'train_cfg.max_iters={STEPS}',
    f'train_cfg.val_interval={STEPS}',
    'default_hooks.logger.interval=1',
    'randomness.seed=0',
]


def train(work_dir: Path, path: str) -> list[dict]:
    """Train a few steps, with PYTHONPATH ``path``; returns the losses."""
    config = ROOT / 'configs' / 'mask-rcnn_vit-tiny_highway_nuclei.py'
    subprocess.run(
        [sys.executable, ROOT / 'tools' / 'train.py', config, '--work-dir', work_dir,
         '--cfg-options', *OPTIONS],
        env={**os.environ, 'PYTHONPATH': path}, check=True, cwd=work_dir.parent,
    )  # fmt: skip
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [{name: line[name] for name in line if 'loss' in name} for line in lines]
    return [line for line in losses if line]


@pytest.mark.slow
@pytest.mark.skipif(not COMPILED, reason='mmcv has no compiled operators here: make env-ops')
def test_training_is_the_same(real_data: Path, tmp_path: Path) -> None:
    compiled = train(tmp_path / 'compiled', os.environ.get('PYTHONPATH', ''))
    ours = train(tmp_path / 'ours', prepended('without_operators'))
    assert len(compiled) == len(ours) == STEPS
    for one, other in zip(compiled, ours, strict=True):
        assert one == pytest.approx(other, rel=0.02)
    assert compiled[:EQUAL] == ours[:EQUAL]
