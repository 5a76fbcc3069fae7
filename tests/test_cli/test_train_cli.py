from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from tiny_runs import Run, forget, tool

from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.inference import load_model


@pytest.fixture
def train(tmp_path: Path):
    """``train(run, ...)``: the exit status of training into ``tmp_path``."""
    return lambda run, *args: tool('train')([run.config, '--work-dir', str(tmp_path), *args])


def content(path: str | Path) -> bytes:
    return Path(path).read_bytes()


@pytest.mark.parametrize('kind', ['semantic', 'instances'])
def test_training_leaves_a_task_a_checkpoint_and_a_summary(kind, request) -> None:
    run: Run = request.getfixturevalue(kind)
    summary = json.loads(content(run.work_dir / 'summary.json'))
    trained = summary['trainable_params_by_part']
    assert trained['backbone.trunk'] == 0 < trained['backbone.adapters']
    assert summary['task_bytes'] == len(content(run.task))
    assert content(run.work_dir / 'last_checkpoint').endswith(b'iter_4.pth')
    assert len(content(run.checkpoint)) > len(content(run.task))


def test_save_best_writes_the_best_task(semantic: Run) -> None:
    assert (semantic.work_dir / 'best.task.safetensors').is_file()


@pytest.mark.parametrize('kind', ['semantic', 'instances'])
def test_a_resumed_run_ends_in_the_same_task(kind, request, train, tmp_path: Path) -> None:
    run: Run = request.getfixturevalue(kind)
    assert train(run, '--resume', str(run.work_dir / 'iter_2.pth')) == 0
    assert content(tmp_path / 'last.task.safetensors') == content(run.task)


def test_resume_without_a_path_takes_the_last_checkpoint(semantic: Run, train, tmp_path) -> None:
    assert train(semantic, '--cfg-options', 'train_cfg.max_iters=2') == 0
    assert train(semantic, '--resume') == 0
    assert content(tmp_path / 'last.task.safetensors') == content(semantic.task)


def test_a_trunk_from_load_from_is_there_after_a_resume(semantic: Run, train, tmp_path) -> None:
    whole = tmp_path / 'whole.pth'
    torch.save(build_model(load_config(semantic.config)).state_dict(), whole)
    options = ['--cfg-options', 'model.backbone.backbone.init_cfg=None', f'load_from={whole}']
    assert train(semantic, *options) == 0
    forget()
    expected = content(tmp_path / 'last.task.safetensors')
    assert train(semantic, '--resume', str(tmp_path / 'iter_2.pth'), *options) == 0
    assert content(tmp_path / 'last.task.safetensors') == expected
    # The config in the work dir needs no checkpoint of the training, which may be deleted.
    (tmp_path / 'iter_2.pth').unlink()
    forget()
    dumped = next(tmp_path.glob('*.py'))
    assert load_model(dumped, tmp_path / 'last.task.safetensors').backbone.pretrained


def test_a_task_file_can_be_the_start(semantic: Run, train, tmp_path: Path) -> None:
    frozen = ['optim_wrapper.optimizer.lr=0.0', 'train_cfg.max_iters=1']
    assert train(semantic, '--init-task', semantic.task, '--cfg-options', *frozen) == 0
    # Nothing was learned, so the codes are those of the file that training started from.
    from mmqadapter.taskfile.format import read_content

    start, end = (
        read_content(p).tensors for p in (semantic.task, tmp_path / 'last.task.safetensors')
    )
    assert start['adapters:codes'].equal(end['adapters:codes'])
    assert start['decode_head.conv_seg.weight'].equal(end['decode_head.conv_seg.weight'])


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (['--init-task', 'no.task.safetensors'], 'FileNotFoundError: .*no.task.safetensors'),
        (['--resume', 'no.pth'], 'FileNotFoundError: .*no.pth'),
        (
            ['--cfg-options', 'train_dataloader.dataset.data_root=no/data'],
            'FileNotFoundError: .*no/data.*train.*MMQADAPTER_DATA',
        ),
        (['--cfg-options', 'model.backbone.quantizer.bits=3'], 'ValueError: .*3'),
        (['--cfg-options', 'model.backbone.blocks=stage9'], 'ValueError: .*stage9'),
        (['--cfg-options', 'model.backbone.backbone.init_cfg=None'], 'ValueError: .*random'),
        (
            ['--cfg-options', 'train_dataloader.batch_size=2000'],
            'ValueError: train_dataloader.batch_size=2000 is more than the .* images .*at most',
        ),
    ],
)  # fmt: skip
def test_bad_input_is_reported_in_one_line(semantic: Run, train, capsys, option, message) -> None:
    capsys.readouterr()
    assert train(semantic, *option) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(message, line)


def test_an_unknown_config_is_reported(capsys) -> None:
    assert tool('train')(['no/config.py']) == 1
    assert capsys.readouterr().err.startswith(
        "FileNotFoundError: there is no config 'no/config.py'"
    )
