"""From a config file to an mmengine runner, for mmdet and mmseg alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmqadapter.datasets import exactly_resumable


def load_config(path: str | os.PathLike, options: dict[str, Any] | None = None) -> Config:
    """Config of a file, with command-line overrides merged in.

    Raises:
        FileNotFoundError: No such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no config {str(path)!r}; configs/ holds those we ship.')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    cfg.setdefault('work_dir', str(Path('work_dirs', Path(path).stem)))
    return cfg


def training_runner(
    cfg: Config, resume: bool | str = False, init_task: str | None = None, amp: bool = False
) -> Runner:
    """Runner that trains ``cfg``.

    Args:
        cfg: A config of mmdet or mmseg, with a wrapped backbone or without.
        resume: True for the last checkpoint in the work dir, or the path of one.
        init_task: A task file to start from.
        amp: Train in mixed precision.

    Raises:
        FileNotFoundError: A file that does not exist.
    """
    for file in (resume, init_task):
        if isinstance(file, str) and not Path(file).is_file():
            raise FileNotFoundError(f'there is no file {file!r}; check the path.')
    cfg = exactly_resumable(cfg)
    cfg.resume = bool(resume)
    if isinstance(resume, str):
        cfg.load_from = resume
    if init_task is not None:
        hook = dict(type='mmqadapter.InitTaskHook', task=init_task)
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]
    if amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    return Runner.from_cfg(cfg)
