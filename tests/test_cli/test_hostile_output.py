"""Files of strangers cannot send commands to the terminal, whatever a command prints of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tiny_runs import ROOT, tool

from mmqadapter import inspect_task, save_task
from mmqadapter.backbones import AdaptedBackbone

CLEAR = '\x1b[2J'
ESCAPED = '\\x1b[2J'


@pytest.fixture
def run(capsys) -> Callable[..., tuple[int, str]]:
    """``run(command, ...)``: exit status, and all that reached stdout and stderr."""

    def call(command: str, *args: str | Path) -> tuple[int, str]:
        capsys.readouterr()
        status = tool(command)([str(arg) for arg in args])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call


def assert_harmless(printed: str) -> None:
    assert ESCAPED in printed.replace('\n', '')
    assert printed.replace('\n', '').isprintable()


def test_classes_of_a_task_file(run, tiny_timm_vit, tmp_path: Path) -> None:
    path = tmp_path / 'a.task.safetensors'
    model = AdaptedBackbone(tiny_timm_vit(), dict(type='LoRA', rank=2))
    save_task(model, path, dataset_meta={'classes': [f'sky{CLEAR}']})
    status, printed = run('task', 'inspect', path)
    assert status == 0
    assert_harmless(printed)


@pytest.fixture
def hostile_header(tmp_path: Path) -> Path:
    """A safetensors file whose header makes the reader quote a control sequence."""
    entry = dict(dtype=f'F32{CLEAR}', shape=[1], data_offsets=[0, 4])
    header = json.dumps(dict(x=entry)).encode()
    path = tmp_path / 'x.task.safetensors'
    path.write_bytes(struct.pack('<Q', len(header)) + header + bytes(4))
    return path


def test_errors_that_quote_a_file(run, hostile_header: Path) -> None:
    # The error itself is plain text; it is escaped where it is printed.
    with pytest.raises(ValueError, match='truncated or damaged') as caught:
        inspect_task(hostile_header)
    assert CLEAR in str(caught.value)
    status, printed = run('task', 'inspect', hostile_header)
    assert status == 1
    assert_harmless(printed)


def test_names_of_files(run, tmp_path: Path) -> None:
    for split in ('train', 'val'):
        for kind, suffix in (('images', 'jpg'), ('annotations', 'png')):
            (tmp_path / kind / split).mkdir(parents=True)
            Image.new('L', (2, 2)).save(tmp_path / kind / split / f'{split}.{suffix}')
    (tmp_path / f'images/train/{CLEAR}.jpg').touch()
    config = ROOT / 'configs/_base_/datasets/custom_semantic.py'
    options = ['--data-root', tmp_path, '--cfg-options', 'default_scope=mmseg']
    status, printed = run('check_data', config, *options)
    assert status == 1
    assert_harmless(printed)
