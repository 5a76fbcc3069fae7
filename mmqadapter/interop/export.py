"""Export of a training checkpoint, or of another task file, as a task file."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from torch import nn

from mmqadapter.checkpoints.load import (
    EMA,
    dataset_meta,
    load_state,
    read_checkpoint,
    select_weights,
)
from mmqadapter.checkpoints.stored_config import stored_config
from mmqadapter.engine.runner import build_model, load_config, override, testing_runner
from mmqadapter.taskfile import load_task, save_task
from mmqadapter.taskfile.format import SUFFIX, require_suffix
from mmqadapter.taskfile.head_bits import HeadBits, check_head_bits


def export_task(
    source: str | os.PathLike,
    out: str | os.PathLike,
    config: str | os.PathLike | None = None,
    head_bits: HeadBits = 32,
    ema: bool = True,
    trust: bool = False,
    cfg_options: dict[str, Any] | None = None,
) -> str:
    """Write a training checkpoint, or another task file, as the task file ``out``.

    Args:
        source: Checkpoint of a model with a wrapped backbone, or a task file
            (``*.safetensors``).
        out: Path of the task file, which is written atomically.
        config: Config of the training. By default the one stored in the checkpoint, which is
            parsed as data; a task file stores none.
        head_bits: Bits per weight outside the adapters, see :func:`mmqadapter.save_task`.
        ema: Export the averaged weights, which validation used, if an EMA hook ran in training.
        trust: See :func:`mmqadapter.checkpoints.load.read_checkpoint`.
        cfg_options: Settings to override in the config, by dotted key.

    Returns:
        Which weights the file holds, as text for a message.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The source is unsafe or does not fit the config, the model has no wrapped
            backbone, ``ema=False`` without averaged weights, ``head_bits`` is invalid or matches
            no layer, or ``out`` has another suffix.
    """
    check_head_bits(head_bits)
    require_suffix(out)
    _, model, meta, kind = _load(source, config, ema, trust, cfg_options)
    save_task(model, out, dataset_meta=meta, head_bits=head_bits)
    return kind


def metric_change(
    source: str | os.PathLike,
    out: str | os.PathLike,
    config: str | os.PathLike | None = None,
    ema: bool = True,
    trust: bool = False,
    cfg_options: dict[str, Any] | None = None,
) -> dict[str, tuple[float, float]]:
    """Evaluate ``source`` and the task file ``out`` on the test data of the config.

    Both are evaluated by mmengine's test loop, ``source`` with 32-bit weights except those that
    were trained at fewer bits. The test loop runs the data pipelines, hooks and loggers that the
    config names, so a config stored in a checkpoint is used only with ``trust``.

    Args:
        source: See :func:`export_task`.
        out: Task file exported from ``source``.
        config: See :func:`export_task`.
        ema: See :func:`export_task`.
        trust: See :func:`export_task`.
        cfg_options: See :func:`export_task`.

    Returns:
        Values before and after the export, by metric.

    Raises:
        FileNotFoundError: A file or a data root does not exist.
        ValueError: The config has no test set-up, the weights do not fit the model, or neither
            ``config`` nor ``trust`` is given.
    """
    require_own_config(config, trust)
    cfg, model, meta, _ = _load(source, config, ema, trust, cfg_options)
    with TemporaryDirectory() as folder:
        cfg.work_dir = folder
        # A visualizer of its own: trainings in this process write their logs through the current.
        cfg.visualizer = dict(type='mmengine.Visualizer', name=Path(folder).name)
        full = Path(folder, 'full.task.safetensors')  # head at 32 bits
        save_task(model, full, dataset_meta=meta)
        del model
        before, after = (testing_runner(cfg, file).test() for file in (full, out))
    return {name: (float(value), float(after[name])) for name, value in before.items()}


def require_own_config(config: str | os.PathLike | None, trust: bool) -> None:
    """Check that a test does not run the config of an untrusted checkpoint.

    Raises:
        ValueError: Neither ``config`` nor ``trust`` is given.
    """
    if config is None and not trust:
        raise ValueError(
            'testing runs code that the config names, and the config stored in a checkpoint may '
            'come from anybody: give the config of the training (--config), or state that you '
            'know who wrote the checkpoint (--trust-checkpoint).'
        )


def _load(
    source: str | os.PathLike,
    config: str | os.PathLike | None,
    ema: bool,
    trust: bool,
    cfg_options: dict[str, Any] | None,
) -> tuple[Config, nn.Module, dict[str, Any] | None, str]:
    """Return the config, the model with its weights, the dataset meta and the kind of weights."""
    if Path(source).suffix == SUFFIX:
        cfg = _config_of_task(source, config, ema, cfg_options)
        model = build_model(cfg)
        return cfg, model, load_task(model, source)['dataset'], 'the weights of the task file'
    content = read_checkpoint(source, trust)
    if not ema and EMA not in content:
        raise ValueError(f'{str(source)!r} has no averaged weights (EMA); leave out --no-ema.')
    cfg = (
        load_config(config, cfg_options)
        if config
        else override(stored_config(content), cfg_options)
    )
    model = build_model(cfg)
    load_state(model, select_weights(content, ema), source)
    meta = dataset_meta(content.get('meta', {}).get('dataset_meta'))
    if EMA not in content:
        return cfg, model, meta, 'the trained weights'
    kind = 'the averaged (EMA) weights' if ema else 'the weights without averaging'
    return cfg, model, meta, kind


def _config_of_task(
    source: str | os.PathLike,
    config: str | os.PathLike | None,
    ema: bool,
    cfg_options: dict[str, Any] | None,
) -> Config:
    if config is None:
        raise ValueError(
            f'{str(source)!r} is a task file, which stores no config; give the config of its '
            'training (--config).'
        )
    if not ema:
        raise ValueError(
            f'{str(source)!r} is a task file, which has a single set of weights; leave out '
            '--no-ema.'
        )
    return load_config(config, cfg_options)
