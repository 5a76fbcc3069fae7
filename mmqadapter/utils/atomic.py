"""Writing a file so that neither a reader nor a crash ever leaves half of it."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
MISNAMED = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY}


def atomic_write(path: str | os.PathLike[str], data: bytes | Iterable[bytes]) -> None:
    """Replace the content of the file ``path`` by ``data`` in one step; create missing folders.

    The bytes are written to a temporary file in the same folder and flushed to the disk before the
    file is renamed. Whatever fails, ``path`` holds either all of its old content or all of the new.
    A symbolic link stays a link, and a replaced file keeps its permissions.

    Args:
        path: The file.
        data: Its content, as a whole or in chunks, of which only one at a time is in memory.

    Raises:
        ValueError: ``path`` is a device, a pipe or the like, which cannot be replaced.
        OSError: The folder is not writable or the disk is full. The message says what to do;
            ``errno``, ``filename`` and the subclass are those of the original error. The temporary
            file is removed if the disk still allows that.
    """
    path = Path(os.path.realpath(path))
    if isinstance(data, (bytes, bytearray, memoryview)):
        size, chunks = f'{len(data):,} bytes', iter([bytes(data)])
    else:
        size, chunks = 'the file', iter(data)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError(f'{str(path)!r} is a device or a pipe; choose the path of a file.')
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, chunks)
        _sync_folder(path.parent)
    except OSError as error:
        raise _with_remedy(error, path, size) from error


def _replace(path: Path, chunks: Iterable[bytes]) -> None:
    # Cut, since the name may already have the maximal length.
    temporary = path.with_name(f'.{path.name[:32]}.{uuid.uuid4().hex}.tmp')
    try:
        with open(temporary, 'xb') as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if path.is_file():
            os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # a failing disk fails here too; the first error says more
            temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the new file name survive a power cut, if the folder can be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder may be writable but not readable
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported by some network disks
            raise
    finally:
        os.close(handle)


def _with_remedy(error: OSError, path: Path, size: str) -> OSError:
    """Return the same error with the file, its size, and a remedy."""
    reason = error.strerror or str(error)
    message = (
        f'{reason}: {size} could not be written. No file is left incomplete, and earlier '
        f'files are intact. {_remedy(error.errno)}'
    )
    if error.errno is None:
        return OSError(f'{message}: {str(path)!r}')
    return OSError(error.errno, message, str(path))


def _remedy(number: int | None) -> str:
    if number in FULL:
        return 'Free some space or raise the quota, or choose another folder, then resume'
    if number in FORBIDDEN:
        return 'Choose a folder that you may write to'
    if number in MISNAMED:
        return (
            'A folder has the name of the file, or a file has the name of its folder: choose '
            'another name'
        )
    if number == errno.ENAMETOOLONG:
        return 'Choose a shorter name'
    return 'Check the disk or the network storage, or choose another folder, then resume'
