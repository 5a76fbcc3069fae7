"""A frozen trunk that mmengine's FSDP strategy shards trains as a whole one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmseg')
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('fsdp')]

ADAMW = """
_base_ = {base!r}
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(_delete_=True, type='AdamW', lr=0.01, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={{'backbone.adapters': dict(lr_mult=0.5)}}))
param_scheduler = [dict(type='PolyLR', by_epoch=False, end=4)]
"""
SHARDED = """
_base_ = {base!r}
runner_type = 'FlexibleRunner'
strategy = dict(
    type='FSDPStrategy', state_dict_cfg='full', model_wrapper=dict(
        type='MMFullyShardedDataParallel', auto_wrap_policy='mmqadapter.frozen_blocks'))
"""


@pytest.fixture(scope='module')
def whole_config(upernet_highway: str) -> str:
    """A 1-bit highway, its last block in path, trained by AdamW with groups."""
    path = Path(upernet_highway).with_name('adamw.py')
    path.write_text(ADAMW.format(base=upernet_highway))
    return str(path)


@pytest.fixture(scope='module')
def sharded_config(whole_config: str) -> str:
    """The same in shards."""
    path = Path(whole_config).with_name('fsdp.py')
    path.write_text(SHARDED.format(base=whole_config))
    return str(path)


@pytest.fixture(scope='module')
def sharded(sharded_config, launch, tmp_path_factory) -> Path:
    """Work dir of four steps on two processes."""
    work_dir = tmp_path_factory.mktemp('sharded')
    launch('dist_train.sh', sharded_config, '2', '--work-dir', str(work_dir))
    return work_dir


def test_equals_two_processes_with_a_whole_trunk_each(whole_config, sharded, launch, tmp_path):
    launch('dist_train.sh', whole_config, '2', '--work-dir', str(tmp_path))
    for moment in ('start_rank0', 'end_rank0'):
        assert equal(load(sharded, moment), load(tmp_path, moment))
    for name in ('last', 'best'):
        one, other = (path / f'{name}.task.safetensors' for path in (sharded, tmp_path))
        assert one.read_bytes() == other.read_bytes()
    one, other = (load(path, 'iter_4') for path in (sharded, tmp_path))
    assert equal(one['state_dict'], other['state_dict'])  # neither holds the trunk
    assert one['mmqadapter'] == other['mmqadapter']  # the fingerprint
    counts = [
        {key: value for key, value in summary(path).items() if key.startswith('trainable')}
        for path in (sharded, tmp_path)
    ]
    assert counts[0] == counts[1] and len(counts[0]) == 3
    start, end = load(sharded, 'start_rank0'), load(sharded, 'end_rank0')
    moved = {name for name in start if not torch.equal(start[name], end[name])}
    assert any('highway' in name for name in moved) and not any('trunk' in name for name in moved)


def test_resumed_run_equals_the_uninterrupted_one(sharded_config, sharded, launch, tmp_path):
    middle = ['--resume', str(sharded / 'iter_2.pth')]
    printed = launch('dist_train.sh', sharded_config, '2', '--work-dir', str(tmp_path), *middle)
    assert 'resumes exactly: random states of 2 rank(s)' in printed
    assert equal(load(tmp_path, 'end_rank0'), load(sharded, 'end_rank0'))
    one, other = (load(path, 'iter_4')['optimizer']['state'] for path in (sharded, tmp_path))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def load(folder: Path, name: str) -> dict:
    return torch.load(folder / f'{name}.pth', weights_only=False)


def summary(folder: Path) -> dict:
    return json.loads((folder / 'summary.json').read_text())


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_table_of_rates_counts_the_whole_model(sharded) -> None:
    (log,) = sharded.glob('*/*.log')
    text = log.read_text()
    rows = [line.split('│') for line in text.splitlines() if line.startswith('│ backbone.adapters')]
    counted = sum(int(row[5].strip().replace(',', '')) for row in rows if len(row) == 7)
    assert counted == summary(sharded)['trainable_backbone_params']
    assert 'no gradient' not in text
