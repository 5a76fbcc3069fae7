"""Reading any file either works or raises a documented error; no code runs, nothing hangs.

``fuzz.py`` checks the same properties with coverage-guided inputs.
"""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hostile import (
    NETS,
    TIMM,
    TINY_NET,
    model,
    peft_folders,
    petl_files,
    task_files,
)
from hypothesis import given, settings

from mmqadapter import inspect_task, load_task
from mmqadapter.cli.common import user_errors
from mmqadapter.interop.peft import import_peft
from mmqadapter.interop.petl_vit import load_petl

FOLDER = Path(mkdtemp(dir='/dev/shm' if Path('/dev/shm').is_dir() else None))
SECONDS = 10
# Audit events that no reader of a file has a reason for.
RUNS = {
    'os.system',
    'os.exec',
    'os.posix_spawn',
    'os.fork',
    'subprocess.Popen',
    'pickle.find_class',
    'ctypes.dlopen',
    'socket.connect',
}
watching: list[str] = []
# Number of files that were accepted, or refused by each function.
outcomes: Counter[str] = Counter()


def _watch(event: str, args: Any) -> None:
    if watching and event in RUNS:
        watching.append(f'{event} {args}')


sys.addaudithook(_watch)


@contextmanager
def safely() -> Iterator[None]:
    """Check that only documented errors are raised, that no code runs, and the CPU time."""
    watching[:] = ['begin']
    began = time.process_time()
    try:
        yield
        outcomes['accepted'] += 1
    except (ValueError, FileNotFoundError) as error:
        outcomes[_place(error)] += 1
        documented = type(error) in (ValueError, FileNotFoundError)
        assert documented or type(error).__module__.startswith('mmqadapter'), repr(error)
        assert len(str(error)) < 4000
        _assert_harmless_line(error)
    finally:
        ran, watching[:] = watching[1:], []
    assert not ran
    assert time.process_time() - began < SECONDS


def _assert_harmless_line(error: Exception) -> None:
    """Check that the command line prints the error without control characters."""

    @user_errors
    def command() -> None:
        raise error

    with redirect_stderr(io.StringIO()) as printed:
        assert command() == 1
    line = printed.getvalue().removesuffix('\n')
    assert line.isprintable() and line.startswith(type(error).__name__), line[:400]


def _place(error: BaseException) -> str:
    """Return the innermost of our functions in the traceback of an error, or of its cause."""
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    ours = [f for f in frames if f'{os.sep}mmqadapter{os.sep}' in f.filename]
    return f'{Path(ours[-1].filename).stem}.{ours[-1].name}' if ours else 'elsewhere'


def written(name: str, data: bytes) -> Path:
    path = FOLDER / name
    path.write_bytes(data)
    return path


def read_task_file(data: bytes) -> None:
    path = written('a.task.safetensors', data)
    with safely():
        inspect_task(path)
    for trainable in (False, True):
        with safely():
            load_task(model(), path, trainable)


def read_peft_folder(config: bytes, weights: bytes) -> None:
    written('adapter_config.json', config)
    written('adapter_model.safetensors', weights)
    with safely():
        import_peft(FOLDER, FOLDER / 'out', TIMM)


def read_petl_files(data: bytes, text: bytes) -> None:
    NETS['tiny'] = TINY_NET
    try:
        with safely():
            load_petl(written('a.bin', data), written('a.yaml', text), trunk={})
    finally:
        del NETS['tiny']


@settings(max_examples=300)
@given(task_files())
def test_task_files(data: bytes) -> None:
    read_task_file(data)


@settings(max_examples=200)
@given(peft_folders())
def test_peft_folders(files: tuple[bytes, bytes]) -> None:
    read_peft_folder(*files)


@settings(max_examples=200)
@given(petl_files())
def test_petl_files(files: tuple[bytes, bytes]) -> None:
    read_petl_files(*files)


PROPERTIES: dict[str, Callable] = {
    'task': test_task_files,
    'peft': test_peft_folders,
    'petl': test_petl_files,
}
