"""Writing a file so that a reader, or a crash, never meets half of it."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
MISNAMED = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY}


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace the file ``path`` by ``data`` in one step, making its folder where it is missing.

    The bytes go to a temporary file in the same folder, reach the disk, and only then take the
    name. Whatever fails, ``path`` holds either all of its old content or all of the new. A link
    stays one, and a file that is replaced keeps its permissions.

    Raises:
        ValueError: ``path`` is a device, a pipe or the like, which cannot be replaced.
        OSError: the folder cannot be written or is full; it says what to do, has ``errno`` and
            ``filename``, and is of the subclass of its ``errno``. No temporary file stays behind
            where the disk still lets it be removed.
    """
    path = Path(os.path.realpath(path))
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError(f'{str(path)!r} is a device or a pipe; choose the path of a file.')
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
        _sync_folder(path.parent)
    except OSError as error:
        raise _with_remedy(error, path, len(data)) from error


def _replace(path: Path, data: bytes) -> None:
    # Cut, since the name may be as long as names can be.
    temporary = path.with_name(f'.{path.name[:32]}.{uuid.uuid4().hex}.tmp')
    try:
        with open(temporary, 'xb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.is_file():
            os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # a failing disk fails here too, and the first error tells more
            temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the folder may be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # one may write without reading
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks sync no folders
            raise
    finally:
        os.close(handle)


def _with_remedy(error: OSError, path: Path, size: int) -> OSError:
    """The same error with the file, its size, and what to do."""
    reason = error.strerror or str(error)
    told = (
        f'{reason}: {size:,} bytes could not be written. No file is half written, and those '
        f'written before are whole. {_remedy(error.errno)}'
    )
    if error.errno is None:
        return OSError(f'{told}: {str(path)!r}')
    return OSError(error.errno, told, str(path))


def _remedy(number: int | None) -> str:
    if number in FULL:
        return 'Free some space or raise the quota there, or choose another folder, and go on'
    if number in FORBIDDEN:
        return 'Choose a folder that you may write to'
    if number in MISNAMED:
        return (
            'A folder has the name of the file, or a file that of its folder: choose another name'
        )
    if number == errno.ENAMETOOLONG:
        return 'Choose a shorter name'
    return 'Check the disk or the network storage, or choose another folder, and go on'
