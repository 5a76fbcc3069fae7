"""Task files where mmengine loads a checkpoint, as the inferencers of mmdet and mmseg do.

mmengine reads a file before it knows the model, and a task file can only be decoded with the
model. So reading gives a checkpoint whose state dict names the file, and loading that state dict
into a model loads the task.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, ItemsView, Iterator, Mapping
from pathlib import Path
from typing import Any

import mmengine.runner.checkpoint as checkpoint_module
from torch import nn

from mmqadapter.checkpoints.load import dataset_meta
from mmqadapter.taskfile import load_task
from mmqadapter.taskfile.format import SUFFIX, is_task_file, read_task
from mmqadapter.utils.model_wrapping import unwrap_model
from mmqadapter.utils.tuned_backbone import tuned_backbone

# Key of the state dict that stands for a task file; its value is the path.
TASK_FILE = 'mmqadapter.task_file'
# Modules that load what `_load_checkpoint` of mmengine returns into a model to predict with.
# Not the runner: a training needs other weights, those of `InitTaskHook`.
READERS = ('mmengine.runner.checkpoint', 'mmengine.infer.infer')
HINT = (
    'use mmqadapter.load_task(model, path), or mmqadapter.inference.load_model(config, path); the '
    'inferencers of mmdet and mmseg take it as weights; a training starts from it with --init-task'
)


def accept_task_files() -> None:
    """Let ``load_checkpoint`` and the inferencers take task files, which mmengine does not know.

    Elsewhere, such as for the pretrained weights of a backbone, a task file is refused.

    Remove when mmengine has a registry of checkpoint formats that see the model.
    """
    for name in READERS:
        module: Any = importlib.import_module(name)
        module._load_checkpoint = _reading_tasks(module._load_checkpoint)
    module = checkpoint_module
    module.load_state_dict = _loading_tasks(module.load_state_dict)


def task_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return what stands for a task file among mmengine's checkpoints.

    Raises:
        ValueError: The file is damaged.
    """
    meta = dataset_meta(read_task(path).metadata['dataset'])
    names = dict(meta, palette=meta.get('palette')) if meta else None
    return {
        'state_dict': _TaskState(str(path)),
        'meta': {'dataset_meta': names} if names else {},
    }


def refuse_task_file(path: Any) -> None:
    """Refuse a task file where weights of another kind are read, such as those of a trunk.

    Raises:
        ValueError: The file is a task file.
    """
    if is_task_file(path):
        raise _refusal(path)


def _refusal(path: Any) -> ValueError:
    return ValueError(f'{str(path)!r} is a task file, not a checkpoint of a whole net; {HINT}.')


class _TaskState(Mapping[str, str]):
    """State dict that stands for a task file; only mmengine, which takes its items, can load it.

    PyTorch would ignore its key where missing ones are allowed, and keep random weights.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __getitem__(self, key: str) -> str:
        return {TASK_FILE: self._path}[key]

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise _refusal(self._path)

    def items(self) -> ItemsView[str, str]:
        """Return the key and the path."""
        return {TASK_FILE: self._path}.items()


def load_task_into(model: nn.Module, path: str) -> None:
    """Load a task file into a model for prediction.

    Raises:
        ValueError: The model has no wrapped backbone, or the file does not fit it.
    """
    model = unwrap_model(model)
    if tuned_backbone(model) is None:
        raise ValueError(
            f'{path!r} is a task file, and {type(model).__name__} has no wrapped backbone to load '
            'it into; build the model with the config that the task was trained with.'
        )
    load_task(model, path)


def _reading_tasks(read: Callable) -> Callable:
    if hasattr(read, '__wrapped__'):
        return read

    @functools.wraps(read)
    def reading(filename: Any, *args: Any, **kwargs: Any) -> Any:
        # mmengine cannot read this suffix: whatever the file holds, reading a task says it best.
        if is_task_file(filename) or str(filename).endswith(SUFFIX):
            return task_checkpoint(filename)
        return read(filename, *args, **kwargs)

    return reading


def _loading_tasks(load: Callable) -> Callable:
    if hasattr(load, '__wrapped__'):
        return load

    @functools.wraps(load)
    def loading(module: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> None:
        if TASK_FILE in state_dict:
            load_task_into(module, state_dict[TASK_FILE])
        else:
            load(module, state_dict, *args, **kwargs)

    return loading
