"""Sources of studied models: a config and its weights, checked before anything is built."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import nn

from mmqadapter.checkpoints.load import load_weights, read_checkpoint
from mmqadapter.engine.runner import build_model, require_model
from mmqadapter.inference.model import choose_device
from mmqadapter.taskfile import inspect_task
from mmqadapter.taskfile.format import SUFFIX


@dataclass(frozen=True)
class Source:
    """Config and weights of a model that is studied.

    Attributes:
        label: Name of the model in plots and tables.
        cfg: Its config.
        file: Its task file or checkpoint.
        trust: Read a checkpoint even if that may run code from it.
    """

    label: str
    cfg: Config
    file: str
    trust: bool = False


def adapted_source(cfg: Config, file: str, trust: bool = False) -> Source:
    """Return the source of a model with adapters, with the quantizer of the task file.

    Args:
        cfg: A config whose backbone has adapters.
        file: A task file or a training checkpoint of such a model.
        trust: See :func:`mmqadapter.checkpoints.load.read_checkpoint`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The config or the file has no adapters.
    """
    require_model(cfg)
    backbone = cfg.model.get('backbone') or {}
    if not backbone.get('adapter'):
        raise ValueError(
            f'the config {Path(cfg.filename or "").name!r} has no adapters (model.backbone.type='
            f'{backbone.get("type")!r}); give that of an AdaptedBackbone or a HighwayBackbone.'
        )
    cfg = copy.deepcopy(cfg)
    if is_task_file(file):
        cfg.model.backbone.quantizer = _task_quantizer(file)
    else:
        _require_adapter_keys(file, trust)
    return Source('adapters', cfg, file, trust)


def full_source(cfg: Config, file: str, trust: bool = False) -> Source:
    """Return the source of a fully fine-tuned model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The backbone is wrapped, or the file is a task file.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f'there is no checkpoint {file!r}; check the path.')
    if 'backbone' in (cfg.model.get('backbone') or {}) or is_task_file(file):
        raise ValueError(
            f'{Path(cfg.filename or "").name!r} with {file!r} is not a fully fine-tuned model: '
            '--full takes a config whose backbone is not wrapped, and a checkpoint (*.pth) of it.'
        )
    return Source('full', cfg, file, trust)


def is_task_file(file: str) -> bool:
    """Return whether a path is that of a task file, not of a checkpoint."""
    return Path(file).suffix == SUFFIX


def build(source: Source, device: str | None = None) -> nn.Module:
    """Build the model of a source, in eval mode.

    Args:
        source: Config and weights of the model.
        device: Device such as ``'cpu'`` or ``'cuda:0'``; by default a GPU if there is one.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The weights do not fit, or there is no such device.
    """
    chosen_device = choose_device(device)
    model = revert_sync_batchnorm(build_model(source.cfg))
    load_weights(model, source.file, source.trust)
    return model.to(chosen_device).eval()


def _task_quantizer(file: str) -> dict[str, Any] | None:
    tuning = inspect_task(file)['tuning']
    if not tuning.get('adapter'):
        raise ValueError(
            f'{file!r} has no adapters ({tuning.get("type")}); give the task file of an '
            'AdaptedBackbone or a HighwayBackbone.'
        )
    return tuning['quantizer']


def _require_adapter_keys(file: str, trust: bool) -> None:
    state = read_checkpoint(file, trust)['state_dict']
    if not any('.adapters.' in key for key in state):
        raise ValueError(
            f'{file!r} is a checkpoint without adapters, such as that of full fine-tuning; '
            'expected a task file. A fully fine-tuned model is given with --full.'
        )
