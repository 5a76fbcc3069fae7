"""Header of a report: machine, versions and settings of the measurement."""

from __future__ import annotations

import importlib
import os
import platform
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmqadapter.studies.report.settings import Settings

PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'timm', 'mmqadapter')


def make_header(cfg: Config, settings: Settings) -> dict[str, Any]:
    """Return the header of a report.

    Args:
        cfg: Config that is measured.
        settings: Result of :meth:`.Settings.completed`.
    """
    script = Path(sys.argv[0]).resolve()
    return {
        'config': Path(cfg.filename or '').name,
        'command': shlex.join(['python', f'{script.parent.name}/{script.name}', *sys.argv[1:]]),
        'date': date.today().isoformat(),
        'machine': f'{platform.system()} {platform.machine()}, {os.cpu_count()} cores',
        'device': device_name(settings.device),
        'threads': torch.get_num_threads(),
        'versions': {'python': platform.python_version(), **_versions()},
        'precision': _precision(cfg, settings),
        'batch': settings.batch_size,
        'image_size': None if settings.real_data else list(settings.image_size or ()),
        'data': 'training data of the config' if settings.real_data else 'generated',
        'weights': 'random',
        'seeds': [settings.seed],
        'steps': settings.steps,
        'warm_up': settings.warm_up,
        'memory': 'peak allocated' if settings.device.type == 'cuda' else 'saved for backward',
        'max_batch_memory_bytes': settings.memory_limit,
    }


def device_name(device: torch.device) -> str:
    """Return a readable name of a device, such as ``'NVIDIA H200, 139 GiB'``."""
    if device.type != 'cuda':
        return f'{platform.machine()} CPU'
    properties = torch.cuda.get_device_properties(device)
    return f'{properties.name}, {properties.total_memory / 2**30:.0f} GiB'


def _versions() -> dict[str, str | None]:
    """Return the versions of the packages; None for a package that is not installed."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.import_module(name).__version__
        except ImportError:
            versions[name] = None
    return versions


def _precision(cfg: Config, settings: Settings) -> str:
    if not settings.amp:
        return 'float32'
    if settings.device.type == 'cpu':
        return 'bfloat16 (autocast)'
    return f'{(cfg.get("optim_wrapper") or {}).get("dtype") or "float16"} (autocast)'
