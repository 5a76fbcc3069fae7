"""Trainings in processes that can be killed at any moment, even while a file is written."""

from __future__ import annotations

import builtins
import os
import signal
from typing import Any

import cv2
import torch
from tiny_runs import tool

import mmqadapter.utils.atomic

# isort: split
# After mmqadapter, and once, in the server from which the processes are forked.
import mmseg.models  # noqa: F401

# Moments of death while a file is written: half written, fully written, renamed.
MOMENTS = ('write', 'fsync', 'replace')


def train(config: str, work_dir: str, resume: bool, moment: str | None = None, at: int = 0) -> None:
    """Train; with a moment, the process dies at it while it writes file number ``at``."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    if moment is not None:
        _die_at(moment, at)
    options = ['--resume'] if resume else []
    raise SystemExit(tool('train')([config, '--work-dir', work_dir, *options]))


def _die_at(moment: str, at: int) -> None:
    files = 0

    def die_in_time(this: str) -> None:
        if this == moment and files > at:
            os.kill(os.getpid(), signal.SIGKILL)

    class Writer:
        def __init__(self, *args: Any) -> None:
            nonlocal files
            files += 1
            self.file = builtins.open(*args)

        def __enter__(self) -> Writer:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            half = len(data) // 2
            self.file.write(data[:half])
            self.file.flush()
            die_in_time('write')
            self.file.write(data[half:])

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    class Os:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fsync(self, file: int) -> None:
            os.fsync(file)
            die_in_time('fsync')

        def replace(self, old: Any, new: Any) -> None:
            os.replace(old, new)
            die_in_time('replace')

    vars(mmqadapter.utils.atomic).update(open=Writer, os=Os())
