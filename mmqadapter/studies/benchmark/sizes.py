"""Parameters and bytes of a method, counted without a measurement."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mmqadapter.taskfile import inspect_task, save_task
from mmqadapter.utils.tuned_backbone import tuned_backbone


@dataclass(frozen=True)
class Sizes:
    """Parameters that train and bytes that are stored for each task.

    Attributes:
        trainable_backbone_params: Trainable parameters of the backbone.
        trainable_params: Trainable parameters of the model.
        adapter_bytes: Bytes of the adapters in the task file; None if there is no task file.
        task_bytes: Bytes of the task file; without one, as in full fine-tuning, of the model.
        full_model_bytes: Bytes of the plain model in float32.
    """

    trainable_backbone_params: int
    trainable_params: int
    adapter_bytes: int | None
    task_bytes: int
    full_model_bytes: int


def count_sizes(model: nn.Module, plain_bytes: int) -> Sizes:
    """Return the sizes of a method's model.

    Args:
        model: Detector or segmentor with a ``backbone``.
        plain_bytes: Bytes of the weights of the plain model.
    """
    backbone = model.get_submodule('backbone')
    adapters, task = None, plain_bytes
    if tuned_backbone(model) is not None:
        adapters, task = _task_bytes(model)
    return Sizes(_trainable(backbone), _trainable(model), adapters, task, plain_bytes)


def _trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _task_bytes(model: nn.Module) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'task.safetensors')
        save_task(model, path)
        stored = inspect_task(path)['bytes']
    return stored['adapters'], stored['file']
