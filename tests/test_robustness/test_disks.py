"""Full or failing disk: a clear error, intact earlier files, and no temporary files left."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import quick_start, small_config, train

import mmqadapter.utils.atomic
from mmqadapter.inference.prediction import Prediction
from mmqadapter.inference.writers import ResultWriter
from mmqadapter.interop.peft import PeftLora, PeftSettings, Product, write_peft
from mmqadapter.studies.benchmark.report import write_json
from mmqadapter.taskfile import inspect_task
from mmqadapter.taskfile.format import TaskContent, write_content
from mmqadapter.utils.atomic import atomic_write

__all__ = ['quick_start']

STEPS = ('mkdir', 'open', 'write', 'flush', 'fsync', 'replace', 'folder')
FAULTS = {errno.ENOSPC: 'No space left.*Free some space', errno.EIO: 'Input/output.*Check the disk'}
Break = Callable[..., list[str]]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Break:
    """``failing(step, number, match)``: let this step of writing matching files fail."""

    def install(step: str, number: int, match: str = '', times: int = 10**6) -> list[str]:
        failed: list[str] = []

        def perhaps(this: str, path: Any) -> None:
            if this == step and match in str(path) and len(failed) < times:
                failed.append(str(path))
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(mmqadapter.utils.atomic, 'open', _opener(perhaps), raising=False)
        monkeypatch.setattr(mmqadapter.utils.atomic, 'os', _Os(perhaps))
        monkeypatch.setattr(mmqadapter.utils.atomic, 'Path', _path_kind(perhaps))
        return failed

    return install


def _opener(perhaps: Callable[[str, Any], None]) -> Callable[..., Any]:
    class File:
        def __init__(self, path: Path, mode: str) -> None:
            perhaps('open', path)
            self.path, self.file = path, open(path, mode)

        def __enter__(self) -> File:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[: len(data) // 2])
            perhaps('write', self.path)
            self.file.write(data[len(data) // 2 :])

        def flush(self) -> None:
            self.file.flush()
            perhaps('flush', self.path)

        def fileno(self) -> int:
            return self.file.fileno()

    return File


class _Os:
    """The module ``os`` with steps that fail."""

    def __init__(self, perhaps: Callable[[str, Any], None]) -> None:
        self.perhaps = perhaps

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, handle: int) -> None:
        path = os.readlink(f'/proc/self/fd/{handle}')
        self.perhaps('folder' if os.path.isdir(path) else 'fsync', path)
        os.fsync(handle)

    def replace(self, old: Any, new: Any) -> None:
        self.perhaps('replace', new)
        os.replace(old, new)


def _path_kind(perhaps: Callable[[str, Any], None]) -> Callable[..., Path]:
    class Failing(type(Path())):  # type: ignore[misc]
        def mkdir(self, *args: Any, **kwargs: Any) -> None:
            perhaps('mkdir', self)
            super().mkdir(*args, **kwargs)

    return Failing


@pytest.mark.parametrize('number', FAULTS)
@pytest.mark.parametrize('step', STEPS)
def test_every_step_of_writing_may_fail(
    tmp_path: Path, failing: Break, step: str, number: int
) -> None:
    path = tmp_path / 'results' / 'a.json'
    atomic_write(path, b'old')
    failed = failing(step, number)
    with pytest.raises(OSError, match=f'{FAULTS[number]}.*a.json') as caught:
        atomic_write(path, b'the new one')
    assert failed and caught.value.errno == number and caught.value.filename == str(path)
    # After the renaming the new file exists, even if syncing the folder fails.
    assert path.read_bytes() == (b'the new one' if step == 'folder' else b'old')
    assert [*path.parent.iterdir()] == [path]


def test_a_disk_that_fails_again_when_the_rest_is_removed(
    tmp_path: Path, failing: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    failing('write', errno.EIO)
    monkeypatch.setattr(mmqadapter.utils.atomic.Path, 'unlink', broken)
    with pytest.raises(OSError, match='Input/output error') as caught:
        atomic_write(tmp_path / 'a', b'data')
    assert caught.value.errno == errno.EIO


def test_a_forbidden_folder_is_told(tmp_path: Path, failing: Break) -> None:
    failing('open', errno.EACCES)
    with pytest.raises(PermissionError, match='Choose a folder that you may write to'):
        atomic_write(tmp_path / 'a', b'data')


def test_a_disk_that_cannot_sync_folders_will_do(tmp_path: Path, failing: Break) -> None:
    failing('folder', errno.EINVAL)
    atomic_write(tmp_path / 'a', b'data')
    assert (tmp_path / 'a').read_bytes() == b'data'


def task(folder: Path) -> None:
    write_content(folder / 'a.task.safetensors', TaskContent({'version': 1}, {'w': torch.ones(3)}))


def peft(folder: Path) -> None:
    products = {'blocks.0.attn.qkv': Product(torch.ones(2, 4), torch.ones(12, 2))}
    write_peft(PeftLora(PeftSettings(2, 1.0), products), folder)


def predictions(folder: Path) -> None:
    image = Path('elsewhere/a.jpg')
    found = Prediction(image, shape=(4, 4), labels=None, instances=[])
    writer = ResultWriter(folder, [image], {'classes': ['one']})
    writer._write_json(writer._instance_file(image), found, annotations=[])
    writer.finish([image])


def report(folder: Path) -> None:
    write_json({'header': {}, 'rows': []}, folder)


@pytest.mark.parametrize('write', [task, peft, predictions, report], ids=lambda f: f.__name__)
def test_files_of_all_kinds_are_safe(
    tmp_path: Path, failing: Break, write: Callable[[Path], None]
) -> None:
    write(tmp_path)
    before = snapshot(tmp_path)
    failing('write', errno.ENOSPC)
    with pytest.raises(OSError, match='Free some space'):
        write(tmp_path)
    assert snapshot(tmp_path) == before


FIRST = {'best_mIoU_iter_2.pth', 'iter_2.pth'}
SECOND = {'best_mIoU_iter_4.pth', 'iter_2.pth', 'iter_4.pth'}
TRAINED = [  # file that cannot be written, remaining checkpoints, content of last_checkpoint
    ('iter_4.pth', FIRST, 'iter_2.pth'),
    ('last_checkpoint', FIRST | {'iter_4.pth'}, 'iter_2.pth'),
    ('best_mIoU_iter_4.pth', FIRST | {'iter_4.pth'}, 'iter_4.pth'),
    ('last.task.safetensors', SECOND, 'iter_4.pth'),
    ('summary.json', SECOND, 'iter_4.pth'),
]


@pytest.mark.parametrize(('file', 'left', 'pointer'), TRAINED, ids=[row[0] for row in TRAINED])
def test_a_training_on_a_full_disk(
    quick_start: None, tmp_path: Path, failing: Break, file: str, left: set[str], pointer: str
) -> None:
    train(small_config(tmp_path, steps=2))
    failing('write', errno.ENOSPC, match=f'.{file}.')
    with pytest.raises(OSError, match=f'No space left.*Free some space.*{file}'):
        train(small_config(tmp_path), resume=True)
    assert {path.name for path in tmp_path.glob('*.pth')} == left
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / pointer)
    for path in tmp_path.glob('*.pth'):
        torch.load(path, weights_only=False)
    for path in tmp_path.glob('*.task.safetensors'):
        inspect_task(path)
    assert not [*tmp_path.glob('.*')]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a separate disk of 2 MB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', str(folder)]
    if shutil.which('mount') is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip('a disk of its own cannot be mounted here: that takes root')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Use up all of the space."""
    rest = disk / 'filler'
    with open(rest, 'wb', buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return rest


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    task(small_disk)
    before = snapshot(small_disk)
    filler = fill(small_disk)
    with pytest.raises(OSError, match='No space left.*Free some space'):
        atomic_write(small_disk / 'a.task.safetensors', bytes(10**5))
    filler.unlink()
    assert snapshot(small_disk) == before
    task(small_disk)


def test_a_training_goes_on_when_there_is_space_again(quick_start: None, small_disk: Path) -> None:
    work = small_disk / 'work'
    train(small_config(work, steps=2))
    filler = fill(small_disk)
    whole = (work / 'iter_2.pth').read_bytes()
    with pytest.raises(OSError, match='No space left'):
        train(small_config(work), resume=True)
    assert (work / 'iter_2.pth').read_bytes() == whole and not (work / 'iter_4.pth').exists()
    assert not [*work.glob('.*')]
    filler.unlink()
    train(small_config(work), resume=True)
    assert inspect_task(work / 'last.task.safetensors')


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}
