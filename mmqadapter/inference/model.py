"""Loading a model for prediction, and switching its task."""

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
from mmqadapter.engine.data_classes import check_classes
from mmqadapter.engine.data_configs import leaf_configs
from mmqadapter.engine.runner import build_model, load_config


def load_model(
    config: Config | str | os.PathLike,
    task: str | os.PathLike,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    trust: bool = False,
) -> nn.Module:
    """Return the model of a config with the weights of a task file or checkpoint, in eval mode.

    It has the attributes ``cfg`` and ``dataset_meta`` (classes, palette, reduce_zero_label), which
    the inference functions of mmdet and mmseg expect.

    Args:
        config: The config that the task was trained with, or its path.
        task: A task file or a checkpoint.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default a GPU if there is one.
        cfg_options: Settings to override in a config that is given by its path.
        trust: Read a checkpoint even if that may run code in it.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The weights do not fit, the device is not available, or neither task nor config
            names the classes.
    """
    target = choose_device(device)
    model = _build(config, cfg_options)
    switch_task(model, task, trust)
    return model.to(target).eval()


def build_without_task(
    config: Config | str | os.PathLike,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> nn.Module:
    """Return the model of a config with its trunk alone, for :func:`switch_task` or a ``TaskBank``.

    Args:
        config: See :func:`load_model`.
        device: See :func:`load_model`.
        cfg_options: See :func:`load_model`.

    Raises:
        FileNotFoundError: The config does not exist.
        ValueError: The config is invalid, or the device is not available.
    """
    target = choose_device(device)
    return _build(config, cfg_options).to(target).eval()


def _build(config: Config | str | os.PathLike, cfg_options: dict[str, Any] | None) -> Any:
    cfg = config if isinstance(config, Config) else load_config(config, cfg_options)
    check_classes(cfg)
    model: Any = revert_sync_batchnorm(build_model(cfg))
    model.cfg = cfg
    return model


def switch_task(model: Any, task: str | os.PathLike, trust: bool = False) -> None:
    """Load another task into a model of :func:`load_model`; the trunk stays.

    Args:
        model: The model to change.
        task: A task file or a checkpoint.
        trust: Read a checkpoint even if that may run code in it.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The weights do not fit the model, or neither task nor config names the classes.
    """
    name_classes(model, load_weights(model, task, trust), task)


def name_classes(model: Any, meta: dict[str, list], task: str | os.PathLike) -> None:
    """Set ``dataset_meta`` of a model for the task that is loaded into it.

    Args:
        model: The model, with its ``cfg``.
        meta: ``classes`` and ``palette``, each only if the task's file has it; the config gives
            the classes otherwise, and colors are generated.
        task: The task's file, for messages.

    Raises:
        ValueError: Neither ``meta`` nor the config names the classes.
    """
    if not meta.get('classes'):
        meta = config_meta(model.cfg)
    if not meta.get('classes'):
        raise ValueError(
            f'neither {str(task)!r} nor the config names the classes; set metainfo=dict(classes='
            '(...)) in test_dataloader.dataset.'
        )
    palette = meta.get('palette') or []
    if len(palette) != len(meta['classes']):
        palette = [spread_color(index) for index in range(len(meta['classes']))]
    model.dataset_meta = {
        'classes': tuple(meta['classes']),
        'palette': [tuple(color) for color in palette],
        'reduce_zero_label': reduces_zero_label(model.cfg),
    }


def config_meta(cfg: Config) -> dict[str, list]:
    """Return classes and palette of the dataset that the config tests, trains or validates on."""
    leaf = _dataset_config(cfg)
    return {} if leaf is None else dataset_meta(_build_lazily(cfg, leaf).metainfo)


def reduces_zero_label(cfg: Config) -> bool:
    """Return whether label 0 is ignored in the annotations of the config's dataset.

    Its classes then start at 1 in label maps, as with mmseg's ADE20K (``reduce_zero_label``).
    """
    leaf = _dataset_config(cfg)
    if leaf is None:
        return False
    try:
        return bool(getattr(_build_lazily(cfg, leaf), 'reduce_zero_label', False))
    except Exception:  # some datasets cannot be built without their files
        return bool(leaf.get('reduce_zero_label', False))


def _dataset_config(cfg: Config) -> dict | None:
    """Return the config of the dataset that the config tests, trains or validates on."""
    for split in ('test', 'train', 'val'):
        if dataset := (cfg.get(f'{split}_dataloader') or {}).get('dataset'):
            return next(leaf_configs(dataset))[0]
    return None


def _build_lazily(cfg: Config, leaf: dict) -> Any:
    """Build a dataset without its data."""
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    return DATASETS.build(dict(leaf, lazy_init=True, test_mode=False, pipeline=[]))


def spread_color(index: int) -> tuple[int, int, int]:
    """Return a color (R, G, B) for class ``index``; the colors of 20 classes are distinct."""
    red, green, blue = (round(255 * part) for part in matplotlib.colormaps['tab20'](index % 20)[:3])
    return red, green, blue


def choose_device(device: str | None) -> torch.device:
    """Return the named device; for None a GPU if there is one, else the CPU.

    Raises:
        ValueError: The device is not available.
    """
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"device={device!r} is not available ({error}); use 'cpu', or 'cuda' with a GPU."
        ) from error
    return torch.device(device)
