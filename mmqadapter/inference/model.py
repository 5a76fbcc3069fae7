"""A model that is ready to predict."""

from __future__ import annotations

import os
from typing import Any

import matplotlib
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from mmqadapter.checkpoints.load import dataset_meta, load_weights
from mmqadapter.engine.data_configs import leaf_configs
from mmqadapter.engine.runner import build_model, load_config


def load_model(
    config: Config | str | os.PathLike,
    task: str | os.PathLike,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    trust: bool = False,
) -> nn.Module:
    """Model of a config with the weights of a task file or checkpoint, in eval mode.

    Its attributes ``cfg`` and ``dataset_meta`` (classes, palette) are those that mmdet's and
    mmseg's own inference functions expect.

    Args:
        config: The config that the task was trained with, or its path.
        task: A task file or a checkpoint.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default a GPU where there is one.
        cfg_options: Settings to override in a config that is given by its path.
        trust: Read a checkpoint even if that may run code of it.

    Raises:
        FileNotFoundError: A file that does not exist.
        ValueError: The weights do not fit, the device is not there, or nothing names the classes.
    """
    where = choose_device(device)
    cfg = config if isinstance(config, Config) else load_config(config, cfg_options)
    model: Any = revert_sync_batchnorm(build_model(cfg))
    model.cfg = cfg
    switch_task(model, task, trust)
    return model.to(where).eval()


def switch_task(model: Any, task: str | os.PathLike, trust: bool = False) -> None:
    """Put other weights into a model of :func:`load_model`: its trunk serves many tasks.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The weights do not fit the model, or nothing names the classes.
    """
    name_classes(model, load_weights(model, task, trust), task)


def name_classes(model: Any, meta: dict[str, list], task: str | os.PathLike) -> None:
    """Set ``dataset_meta`` of a model for the task that it has.

    Args:
        model: Has a ``cfg``.
        meta: ``classes`` and ``palette``, as far as the task's file names them.
        task: The file, for messages.

    Raises:
        ValueError: Nothing names the classes.
    """
    if not meta.get('classes'):
        meta = config_meta(model.cfg)
    if not meta.get('classes'):
        raise ValueError(
            f'neither {str(task)!r} nor the config names the classes; set metainfo=dict(classes='
            '(...)) in test_dataloader.dataset.'
        )
    colours = meta.get('palette') or []
    if len(colours) != len(meta['classes']):
        colours = [spread_colour(index) for index in range(len(meta['classes']))]
    model.dataset_meta = {
        'classes': tuple(meta['classes']),
        'palette': [tuple(colour) for colour in colours],
    }


def config_meta(cfg: Config) -> dict[str, list]:
    """Classes and palette of the data set that the config tests, trains or validates on."""
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    for split in ('test', 'train', 'val'):
        if dataset := (cfg.get(f'{split}_dataloader') or {}).get('dataset'):
            leaf, _ = next(leaf_configs(dataset))
            lazy = dict(leaf, lazy_init=True, test_mode=False, pipeline=[])
            return dataset_meta(DATASETS.build(lazy).metainfo)
    return {}


def spread_colour(index: int) -> tuple[int, int, int]:
    """Colour (R, G, B) of class ``index`` where a data set has none; 20 differ well."""
    red, green, blue = (round(255 * part) for part in matplotlib.colormaps['tab20'](index % 20)[:3])
    return red, green, blue


def choose_device(device: str | None) -> torch.device:
    """The device that is named, or a GPU where there is one, or the CPU.

    Raises:
        ValueError: No such device.
    """
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f'there is no device {device!r} ({error}); try "cpu".') from error
    return torch.device(device)
