"""A backbone cut into shards over two processes, seen as it was built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import MODELS
from tiny_backbones import tiny_config
from tiny_runs import ROOT
from torch import distributed
from torch.distributed.fsdp import FullyShardedDataParallel

from mmqadapter.backbones import frozen_blocks

# Each process says what it found; torchrun keeps the lines whole.
SCRIPT = Path(__file__).parents[1] / 'sharded_backbone.py'


@pytest.mark.slow
def test_a_sharded_backbone_is_seen_as_it_was_built(tmp_path: Path) -> None:
    path = [str(SCRIPT.parent), str(ROOT), os.environ.get('PYTHONPATH', '')]
    run = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         str(SCRIPT), str(tmp_path)],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(path), 'CUDA_VISIBLE_DEVICES': '',
             'OMP_NUM_THREADS': '1'},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-4000:]
    found = [json.loads((tmp_path / f'rank{rank}.json').read_text()) for rank in range(2)]
    for rank in found:
        held = rank.pop('share of the blocks held')
        assert 0.45 < held < 0.55
        assert all(rank.values()), [name for name, holds in rank.items() if not holds]
    assert found[0]['task file is the same'] and 'task file is the same' not in found[1]


@pytest.fixture
def alone(tmp_path: Path):
    """A group of this process alone."""
    meeting = f'file://{tmp_path}/meeting'
    distributed.init_process_group('gloo', init_method=meeting, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize('trunk_dtype', ['bfloat16', 'int8'])
def test_blocks_in_half_precision_are_no_unit(alone, trunk_dtype: str) -> None:
    config = dict(type='mmqadapter.FrozenBackbone', trunk=dict(dtype=trunk_dtype),
                  backbone=tiny_config('mmseg_vit'))  # fmt: skip
    with pytest.raises(ValueError, match='uniform dtype'):
        FullyShardedDataParallel(
            MODELS.build(config),
            auto_wrap_policy=frozen_blocks,
            use_orig_params=True,
            device_id='cpu',
        )
