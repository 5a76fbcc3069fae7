"""Where a studied model comes from: a config and its weights, checked before anything is built."""

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
    """A model that is to be studied.

    Attributes:
        label: What plots and tables call it.
        cfg: Its config.
        file: Its task file or checkpoint.
        trust: Read a checkpoint even if that may run code of it.
    """

    label: str
    cfg: Config
    file: str
    trust: bool = False


def adapted_source(cfg: Config, file: str, trust: bool = False) -> Source:
    """Source of a model with adapters; the quantiser is that of the task file.

    Args:
        cfg: A config whose backbone has adapters.
        file: A task file, or a training checkpoint of such a model.
        trust: See :func:`mmqadapter.checkpoints.load.read_checkpoint`.

    Raises:
        FileNotFoundError: No such file.
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
    """Source of a fully fine-tuned model.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A wrapped backbone, or a task file.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f'there is no checkpoint {file!r}; check the path.')
    if 'backbone' in (cfg.model.get('backbone') or {}) or is_task_file(file):
        raise ValueError(
            f'{Path(cfg.filename or "").name!r} with {file!r} is no full fine-tuning: --full takes '
            'a config whose backbone is not wrapped, and a checkpoint (*.pth) of it.'
        )
    return Source('full', cfg, file, trust)


def is_task_file(file: str) -> bool:
    """Whether a path is that of a task file, and not of a checkpoint."""
    return Path(file).suffix == SUFFIX


def build(source: Source, device: str | None = None) -> nn.Module:
    """Model of a source in eval mode.

    Args:
        source: Which.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default a GPU where there is one.

    Raises:
        FileNotFoundError: A file that does not exist.
        ValueError: The weights do not fit, or there is no such device.
    """
    where = choose_device(device)
    model = revert_sync_batchnorm(build_model(source.cfg))
    load_weights(model, source.file, source.trust)
    return model.to(where).eval()


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
            f'{file!r} is a checkpoint without adapters, as full fine-tuning leaves one; a task '
            'file is expected here. A fully tuned model goes behind --full.'
        )
