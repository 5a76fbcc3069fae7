"""The file backend writes files completely or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from mmengine.fileio import get_file_backend, put_text

from mmqadapter.engine.atomic_backend import AtomicBackend
from mmqadapter.utils.atomic import atomic_write

ARGS = dict(backend='mmqadapter_atomic')


def fail(*args):
    raise OSError('disk full')


def test_backend_is_found_by_name_and_writes(tmp_path):
    backend = get_file_backend(backend_args=ARGS)
    assert isinstance(backend, AtomicBackend)
    backend.put(b'bytes', str(tmp_path / 'new' / 'folder' / 'file'))
    put_text('täxt', tmp_path / 'text', backend_args=ARGS)
    assert (tmp_path / 'new' / 'folder' / 'file').read_bytes() == b'bytes'
    assert (tmp_path / 'text').read_text(encoding='utf-8') == 'täxt'


def test_importing_the_package_registers_it() -> None:
    code = 'import mmengine.fileio, mmqadapter; print(mmengine.fileio.get_file_backend('
    command = [sys.executable, '-c', f'{code}backend_args={ARGS}).name)']
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split()[-1] == 'AtomicBackend'


@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / 'file'
    atomic_write(path, b'old')
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match='disk full'):
        atomic_write(path, b'new')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_permissions_follow_the_umask(tmp_path):
    atomic_write(tmp_path / 'atomic', b'')
    (tmp_path / 'plain').touch()
    assert (tmp_path / 'atomic').stat().st_mode == (tmp_path / 'plain').stat().st_mode
