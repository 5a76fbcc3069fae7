"""Mask R-CNN on real nuclei: the losses with our operators are those with mmcv's.

Several proposals of an image have equal scores. Of these, ours returns the first one first, the
compiled `nms` any: other boxes are then sampled here and there. So the compiled one is sorted.
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
TRAIN = str(ROOT / 'tools' / 'train.py')
TRAIN_WITH_SORTED_NMS = f"""
import runpy
import sys
from types import SimpleNamespace
import mmcv.ops

def nms(boxes, scores, **settings):
    kept = compiled.nms(boxes, scores, **settings).sort().values
    return kept[scores[kept].argsort(descending=True, stable=True)]

module = sys.modules['mmcv.ops.nms']
compiled, module.ext_module = module.ext_module, SimpleNamespace(nms=nms)
sys.argv[0] = {TRAIN!r}
runpy.run_path(sys.argv[0], run_name='__main__')
"""
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


def train(work_dir: Path, path: str, *script: str) -> list[dict]:
    """Train a few steps by ``script``, with PYTHONPATH ``path``; returns the losses."""
    config = ROOT / 'configs' / 'mask-rcnn_vit-tiny_highway_nuclei.py'
    subprocess.run(
        [sys.executable, *script, config, '--work-dir', work_dir,
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
    path = os.environ.get('PYTHONPATH', '')
    compiled = train(tmp_path / 'compiled', path, '-c', TRAIN_WITH_SORTED_NMS)
    ours = train(tmp_path / 'ours', prepended('without_operators'), TRAIN)
    assert len(compiled) == len(ours) == STEPS
    for one, other in zip(compiled, ours, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
