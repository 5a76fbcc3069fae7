"""Options of train that mmdet's and mmseg's train.py have, and what a run says it ignores."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from tiny_runs import Run, forget, tool


@pytest.fixture
def train(tmp_path: Path):
    """``train(run, ...)``: the exit status of training into ``tmp_path``."""

    def call(run: Run, *args: str) -> int:
        forget()
        return tool('train')([run.config, '--work-dir', str(tmp_path), *args])

    return call


def last_line(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def log(work_dir: Path) -> str:
    return ''.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))


def rates(work_dir: Path, key: str = 'lr') -> list[float]:
    lines = sorted(work_dir.glob('*/vis_data/scalars.json'))[-1].read_text().splitlines()
    return [entry[key] for entry in map(json.loads, lines) if key in entry]


def test_the_rate_is_scaled_with_the_batch(semantic: Run, train, tmp_path: Path) -> None:
    options = [
        '--auto-scale-lr', '--cfg-options', 'auto_scale_lr.base_batch_size=16',
        'optim_wrapper.constructor=mmqadapter.TrainableOptimWrapperConstructor',
        'optim_wrapper.paramwise_cfg.custom_keys.adapters.lr_mult=10.0',
    ]  # fmt: skip
    assert train(semantic, *options) == 0
    # 0.1 for batch 16; the batch here is 2.
    assert rates(tmp_path, 'base_lr')[0] == pytest.approx(0.1 * 2 / 16)
    groups = torch.load(tmp_path / 'iter_4.pth', weights_only=False)['optimizer']['param_groups']
    expected = [0.1 * 2 / 16, 1.0 * 2 / 16]
    assert sorted(group['lr'] for group in groups) == pytest.approx(expected)
    assert 'Scaling the original LR by 0.125' in log(tmp_path)


@pytest.mark.parametrize('base', ['None', '0', 'many'])
def test_scaling_needs_the_batch_that_the_rate_is_for(
    semantic: Run, train, capsys, base: str
) -> None:
    options = ['--auto-scale-lr', '--cfg-options', f'auto_scale_lr.base_batch_size={base}']
    assert train(semantic, *options) == 1
    assert 'auto_scale_lr.base_batch_size=' in (line := last_line(capsys))
    assert 'expected the batch' in line


def test_resume_auto_takes_the_last_checkpoint(semantic: Run, train, tmp_path: Path) -> None:
    assert train(semantic, '--resume', 'auto', '--cfg-options', 'train_cfg.max_iters=2') == 0
    assert train(semantic, '--resume', 'auto') == 0
    assert 'resumed epoch: 0, iter: 2' in log(tmp_path)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert (summary['from_iteration'], summary['to_iteration'], summary['steps']) == (3, 4, 2)


def test_max_iters_shortens_a_run(semantic: Run, train, tmp_path: Path) -> None:
    assert train(semantic, '--max-iters', '2') == 0
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_2.pth')
    scores = re.findall(r'Iter\(val\) \[2/2\].*mIoU', log(tmp_path))
    assert len(scores) == 2  # the interval is 1 of 2, as it was 2 of 4


def test_max_epochs_needs_a_config_that_counts_them(semantic: Run, train, capsys) -> None:
    assert train(semantic, '--max-epochs', '2') == 1
    assert re.search('--max-epochs=2 does not fit the config.*use --max-iters', last_line(capsys))


def test_a_schedule_that_is_cut_is_reported(semantic: Run, train, tmp_path: Path) -> None:
    schedule = dict(type='LinearLR', by_epoch=False, end=9)
    options = [f'param_scheduler.{name}={value}' for name, value in schedule.items()]
    assert train(semantic, '--cfg-options', *options) == 0
    assert 'ends the training before param_scheduler, which ends at 9' in log(tmp_path)


def test_a_misspelled_setting_is_refused(semantic: Run, train, capsys) -> None:
    assert train(semantic, '--cfg-options', 'train_dataloder.batch_size=1') == 1
    assert "did you mean 'train_dataloader'?" in last_line(capsys)


POOLED = """
_base_ = {base!r}
model = dict(decode_head=dict(
    _delete_=True, type='ASPPHead', in_channels=16, in_index=1, channels=8, dilations=(1, 2),
    num_classes=3, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss')))
train_dataloader = dict(batch_size={batch})
"""
LAST_OF_ONE = """
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1)
train_dataloader = dict(batch_size=3, sampler=dict(_delete_=True, type='DefaultSampler'))
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
"""


@pytest.mark.parametrize('last_of_one', [False, True])
def test_a_batch_of_one_under_batch_norm(
    semantic: Run, train, capsys, tmp_path: Path, last_of_one: bool
) -> None:
    path = tmp_path / 'one.py'
    text = POOLED.format(base=semantic.config, batch=1).replace(
        'train_dataloader = dict(batch_size=1)\n', LAST_OF_ONE if last_of_one else ''
    )
    path.write_text(text if last_of_one else POOLED.format(base=semantic.config, batch=1))
    run = Run(str(path), semantic.images, tmp_path)
    assert train(run) == 1
    assert re.match(
        'ValueError: batch norm cannot train on a single value per channel .*batch of 2 or more.*'
        'drop_last=True.*group norm',
        last_line(capsys),
    )
    if last_of_one:
        assert train(run, '--cfg-options', 'train_dataloader.drop_last=True') == 0


@pytest.mark.parametrize('command', ['train', 'test', 'predict'])
def test_a_string_of_classes_is_refused_before_anything_is_built(
    semantic: Run, command: str, capsys, tmp_path: Path
) -> None:
    split = 'train' if command == 'train' else 'test'
    options = ['--cfg-options', f'{split}_dataloader.dataset.metainfo.classes=leaf']
    arguments = {
        'train': ['--work-dir', str(tmp_path / 'work')],
        'test': [semantic.task, '--work-dir', str(tmp_path / 'work')],
        'predict': [semantic.task, str(semantic.images), '--out', str(tmp_path / 'work')],
    }
    assert tool(command)([semantic.config, *arguments[command], *options]) == 1
    assert "metainfo.classes='leaf' is invalid: give a tuple of names" in last_line(capsys)
    assert not (tmp_path / 'work').exists()


def test_a_head_with_fewer_outputs_than_classes_is_refused(semantic: Run, train, capsys) -> None:
    assert train(semantic, '--cfg-options', 'model.decode_head.num_classes=2') == 1
    assert 'model.decode_head.num_classes = 2, the data has 3 classes' in last_line(capsys)
