"""Task files that an earlier training left in a work dir."""

from __future__ import annotations

import time
from pathlib import Path

NAMES = ('best', 'last')
SUFFIX = '.task.safetensors'


def set_aside(work_dir: str | Path) -> list[Path]:
    """Rename the task files of an earlier training, so that another one does not replace them.

    Args:
        work_dir: Folder of the training that begins.

    Returns:
        The new paths, such as ``best_20260131_093000.task.safetensors``, with the time at which the
        file was written.
    """
    files = [Path(work_dir, f'{name}{SUFFIX}') for name in NAMES]
    return [_renamed(file) for file in files if file.is_file()]


def _renamed(file: Path) -> Path:
    written = time.strftime('%Y%m%d_%H%M%S', time.localtime(file.stat().st_mtime))
    stem = f'{file.name.removesuffix(SUFFIX)}_{written}'
    target, copies = file.with_name(stem + SUFFIX), 1
    while target.exists():
        copies += 1
        target = file.with_name(f'{stem}_{copies}{SUFFIX}')
    return file.rename(target)
