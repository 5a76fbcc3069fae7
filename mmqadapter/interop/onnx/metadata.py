"""What whoever runs a graph has to know: its metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmqadapter.version import __version__

SUFFIXES = ('.safetensors', '.task', '.pth')


def graph_metadata(model: Any, preparing: Mapping[str, Any], name: str) -> dict[str, str]:
    """Name of the task, classes and colours, and how pixels become the input.

    All values are text, as ONNX has it: JSON where they are lists or numbers.

    Args:
        model: A segmentor with ``dataset_meta``.
        preparing: Config of its data preprocessor.
        name: Of the task.
    """
    values = {
        'classes': model.dataset_meta['classes'],
        'palette': model.dataset_meta['palette'],
        'mean': preparing.get('mean') or [0.0, 0.0, 0.0],
        'std': preparing.get('std') or [1.0, 1.0, 1.0],
    }
    if (threshold := _threshold(model)) is not None:
        values['threshold'] = threshold
    return {
        'task': name,
        'channels': 'RGB' if preparing.get('bgr_to_rgb') else 'BGR',
        **{key: json.dumps(value) for key, value in values.items()},
        'producer': f'mmqadapter {__version__}',
    }


def task_name(task: str | os.PathLike) -> str:
    """Name of a task or checkpoint file without its suffixes."""
    name = Path(task).name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _threshold(model: Any) -> float | None:
    """Probability above which the second of two classes is meant, where there is one logit."""
    heads = model.decode_head
    last: Any = heads[-1] if isinstance(heads, nn.ModuleList) else heads
    return float(last.threshold) if last.out_channels == 1 else None
