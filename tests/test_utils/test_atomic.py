"""What a file is when it is replaced: links, permissions, names."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mmqadapter.utils.atomic import atomic_write


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_made_and_nothing_else_stays(tmp_path: Path) -> None:
    atomic_write(tmp_path / 'a/b/c', b'content')
    assert (tmp_path / 'a/b/c').read_bytes() == b'content'
    assert [path.name for path in (tmp_path / 'a/b').iterdir()] == ['c']


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'link').symlink_to('folder/file')
    for content in (b'new', b'again'):
        atomic_write(tmp_path / 'link', content)
        assert (tmp_path / 'link').is_symlink()
        assert (tmp_path / 'folder/file').read_bytes() == content


@pytest.mark.parametrize('permissions', [0o600, 0o664])
def test_permissions_stay(tmp_path: Path, permissions: int) -> None:
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    path.chmod(permissions)
    atomic_write(path, b'new')
    assert mode(path) == permissions


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / 'usual').touch()
    atomic_write(tmp_path / 'ours', b'')
    assert mode(tmp_path / 'ours') == mode(tmp_path / 'usual')


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(ValueError, match="pipe' is a device or a pipe; choose the path of a file"):
        atomic_write(tmp_path / 'pipe', b'x')
    assert stat.S_ISFIFO((tmp_path / 'pipe').stat().st_mode)


@pytest.mark.parametrize('name', ['a' * 255, '界' * 85, '𝄞' * 63])
def test_the_longest_names(tmp_path: Path, name: str) -> None:
    atomic_write(tmp_path / name, b'content')
    assert (tmp_path / name).read_bytes() == b'content'


def test_names_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').touch()
    for name, remedy in {
        'folder': 'choose another name',
        'file/below': 'choose another name',
        'a' * 256: 'Choose a shorter name',
    }.items():
        with pytest.raises(OSError, match=remedy):
            atomic_write(tmp_path / name, b'x')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder']
