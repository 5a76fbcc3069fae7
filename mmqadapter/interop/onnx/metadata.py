"""Metadata of a graph: what a program that runs it has to know."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmqadapter.version import __version__

SUFFIXES = ('.safetensors', '.task', '.pth')


def graph_metadata(model: Any, preprocessor: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the task's name, classes and colors, and how pixels are normalized.

    All values are text, as ONNX requires; lists and numbers are JSON.

    Args:
        model: A segmentor with ``dataset_meta``.
        preprocessor: Config of its data preprocessor.
        name: Name of the task.
    """
    values = {
        'classes': model.dataset_meta['classes'],
        'palette': model.dataset_meta['palette'],
        'mean': preprocessor.get('mean') or [0.0, 0.0, 0.0],
        'std': preprocessor.get('std') or [1.0, 1.0, 1.0],
    }
    if (threshold := _threshold(model)) is not None:
        values['threshold'] = threshold
    return {
        'task': name,
        'channels': 'RGB' if preprocessor.get('bgr_to_rgb') else 'BGR',
        **{key: json.dumps(value) for key, value in values.items()},
        'producer': f'mmqadapter {__version__}',
    }


def task_name(task: str | os.PathLike) -> str:
    """Return the name of a task file or checkpoint without its suffixes."""
    name = Path(task).name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _threshold(model: Any) -> float | None:
    """Return the probability above which a single logit means the second of two classes."""
    heads = model.decode_head
    last: Any = heads[-1] if isinstance(heads, nn.ModuleList) else heads
    return float(last.threshold) if last.out_channels == 1 else None
