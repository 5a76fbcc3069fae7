"""What has to be known beside the numbers: machine, versions, settings."""

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
    """Header of a report.

    Args:
        cfg: The config that is measured.
        settings: Completed ones.
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
    """A device in words."""
    if device.type != 'cuda':
        return f'{platform.machine()} CPU'
    found = torch.cuda.get_device_properties(device)
    return f'{found.name}, {found.total_memory / 2**30:.0f} GiB'


def _versions() -> dict[str, str | None]:
    """Versions of the packages; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.import_module(name).__version__
        except ImportError:
            found[name] = None
    return found


def _precision(cfg: Config, settings: Settings) -> str:
    if not settings.amp:
        return 'float32'
    if settings.device.type == 'cpu':
        return 'bfloat16 (autocast)'
    return f'{(cfg.get("optim_wrapper") or {}).get("dtype") or "float16"} (autocast)'
