"""Counts of a model that no measurement is needed for."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mmqadapter.taskfile import inspect_task, save_task
from mmqadapter.utils.tuned_backbone import tuned_backbone


@dataclass(frozen=True)
class Sizes:
    """What trains and what has to be kept for each task.

    Attributes:
        trainable_backbone_params: Trainable parameters in the backbone.
        trainable_params: Trainable parameters in all.
        adapter_bytes: Adapters in the task file, as stored; None where there is no task file.
        task_bytes: The task file; without one, as in full fine-tuning, the whole model.
        full_model_bytes: The plain model, as float32.
    """

    trainable_backbone_params: int
    trainable_params: int
    adapter_bytes: int | None
    task_bytes: int
    full_model_bytes: int


def count_sizes(model: nn.Module, plain_bytes: int) -> Sizes:
    """Sizes of a method's model.

    Args:
        model: A detector or segmentor with a ``backbone``.
        plain_bytes: Bytes of the plain model's weights.
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
