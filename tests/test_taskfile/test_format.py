"""The container: no bit may change, no code runs, writing is atomic."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mmqadapter.taskfile.format import (
    VERSION,
    TaskContent,
    read_content,
    require_suffix,
    write_content,
)

METADATA = {
    'version': VERSION,
    'tuning': {'type': 'x', 'blocks': None},
    'dataset': {'classes': ['é']},
}


@pytest.fixture
def content() -> TaskContent:
    tensors = {'codes': torch.tensor([1, 2, 255], dtype=torch.uint8), 'w': torch.randn(2, 3)}
    return TaskContent(dict(METADATA), tensors)


@pytest.fixture
def file(tmp_path: Path, content: TaskContent) -> Path:
    path = tmp_path / 'a.task.safetensors'
    write_content(path, content)
    return path


def test_the_content_is_read_back(file: Path, content: TaskContent) -> None:
    back = read_content(file)
    assert back.metadata == content.metadata
    assert back.tensors.keys() == content.tensors.keys()
    assert all(torch.equal(back.tensors[name], t) for name, t in content.tensors.items())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_any_dtype_and_shape_is_read_back(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        'scalar': torch.ones((), dtype=dtype),
        'empty': torch.ones(0, 3, dtype=dtype),
        'cube': torch.ones(2, 1, 2, dtype=dtype),
    }
    write_content(tmp_path / 'a', TaskContent({'version': VERSION}, tensors))
    back = read_content(str(tmp_path / 'a')).tensors
    assert {n: (t.dtype, t.shape) for n, t in back.items()} == {
        n: (t.dtype, t.shape) for n, t in tensors.items()
    }


def test_the_file_is_plain_safetensors_without_code(file: Path, content: TaskContent) -> None:
    data = file.read_bytes()
    (length,) = struct.unpack('<Q', data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header.keys() == {'__metadata__', 'codes', 'w'}
    begin, end = header['w']['data_offsets']
    stored = torch.frombuffer(bytearray(data[8 + length :][begin:end]), dtype=torch.float32)
    assert torch.equal(stored.view(2, 3), content.tensors['w'])
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(data)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, content: TaskContent) -> None:
    reordered = TaskContent(
        dict(reversed(content.metadata.items())), dict(reversed(content.tensors.items()))
    )
    write_content(tmp_path / 'a', content)
    write_content(tmp_path / 'b', reordered)
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_every_single_flipped_bit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / 'small'
    codes = torch.tensor([1, 2, 255], dtype=torch.uint8)
    write_content(file, TaskContent({'version': VERSION}, {'codes': codes}))
    data = bytearray(file.read_bytes())
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        with pytest.raises(ValueError):
            read_content(file)
        data[bit // 8] ^= 1 << bit % 8


def test_the_error_for_a_changed_weight_has_a_remedy(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r'a\.task\.safetensors.* changed .*copy or download it'):
        read_content(file)


def test_every_truncation_is_refused(file: Path) -> None:
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(ValueError, match='truncated or damaged .*copy or download it again'):
            read_content(file)


def test_added_bytes_are_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b'\0')
    with pytest.raises(ValueError, match='truncated or damaged'):
        read_content(file)


def test_a_newer_version_asks_for_a_newer_package(tmp_path: Path, content: TaskContent) -> None:
    write_content(
        tmp_path / 'a', TaskContent({**METADATA, 'version': VERSION + 1}, content.tensors)
    )
    text = f'format version {VERSION + 1}, this package reads up to {VERSION}; install a newer'
    with pytest.raises(ValueError, match=text):
        read_content(tmp_path / 'a')


@pytest.mark.parametrize(
    'text', ['', '[]', '"version"', '{}', '{"version":null}', '[' * 10**5, '{"version":NaN}']
)
def test_invalid_metadata_are_refused(tmp_path: Path, content: TaskContent, text: str) -> None:
    save_file(content.tensors, tmp_path / 'a', {'mmqadapter': text})
    with pytest.raises(ValueError, match=r'/a. has (damaged metadata|format version None)'):
        read_content(tmp_path / 'a')


@pytest.mark.parametrize('version', ['0', '-1', 'true', '1.0', '"1"'])
def test_invalid_versions_are_refused(tmp_path: Path, content: TaskContent, version: str) -> None:
    save_file(content.tensors, tmp_path / 'a', {'mmqadapter': f'{{"version":{version}}}'})
    with pytest.raises(ValueError, match=r'/a. has format version .*, this package reads up to'):
        read_content(tmp_path / 'a')


def test_metadata_in_another_spelling_are_refused(tmp_path: Path, content: TaskContent) -> None:
    save_file(content.tensors, tmp_path / 'a', {'mmqadapter': '{"version": 1}'})
    with pytest.raises(ValueError, match=r'/a. has metadata in another form than this package'):
        read_content(tmp_path / 'a')


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    for path in (tmp_path / 'none.task.safetensors', tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no task file '{path}'; check the path"):
            read_content(path)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new('RGB', (8, 8)).save(buffer, 'PNG')
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save({'state_dict': {'w': torch.ones(3)}}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    'data', [b'', b'\0' * 100, png(), pickled()], ids=['empty', '0', 'png', 'pth']
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / 'a').write_bytes(data)
    with pytest.raises(ValueError, match="a' is truncated or damaged"):
        read_content(tmp_path / 'a')


def test_other_safetensors_files_are_refused(tmp_path: Path) -> None:
    for metadata in (None, {'format': 'pt'}):
        save_file({'w': torch.ones(3)}, tmp_path / 'a', metadata)
        with pytest.raises(ValueError, match="a' is not a task file"):
            read_content(tmp_path / 'a')


@pytest.mark.parametrize('step', ['replace', 'fsync'])
def test_a_failing_write_leaves_the_old_file(
    file: Path, content: TaskContent, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*args: Any) -> None:
        raise OSError('no space left')

    before = file.read_bytes()
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match='no space left'):
        write_content(file, TaskContent({**METADATA, 'dataset': None}, content.tensors))
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_missing_folder_is_created(tmp_path: Path, content: TaskContent) -> None:
    write_content(tmp_path / 'new' / 'folder' / 'a', content)
    assert read_content(tmp_path / 'new' / 'folder' / 'a').metadata == content.metadata


def test_the_suffix_of_task_files_is_required() -> None:
    require_suffix('runs/a.task.safetensors')
    with pytest.raises(
        ValueError, match=r"'a\.task' would not be recognized.*let it end in \.task\.safetensors"
    ):
        require_suffix('a.task')


def test_the_error_for_a_checkpoint_names_the_command_to_export_it(tmp_path: Path) -> None:
    path = tmp_path / 'iter_1.pth'
    torch.save({'state_dict': {}}, path)
    with pytest.raises(ValueError, match=r'or not a task file; make one .* mmqadapter task export'):
        read_content(path)
