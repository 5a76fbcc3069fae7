"""A task file of a training checkpoint, or of another task file."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
from mmqadapter.engine.runner import build_model, load_config, testing_runner
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
) -> str:
    """Write the task file ``out`` of a training checkpoint or of another task file.

    Args:
        source: A checkpoint of a model with a wrapped backbone, or a ``*.safetensors``.
        out: Path of the task file; written atomically.
        config: The training's config; by default the one in the checkpoint, read as data. A task
            file carries none.
        head_bits: Bits per weight outside the adapters, see :func:`mmqadapter.save_task`.
        ema: Where an EMA hook trained along, take the averaged weights, as validation did.
        trust: See :func:`mmqadapter.checkpoints.load.read_checkpoint`.

    Returns:
        Which weights the file holds, in words.

    Raises:
        FileNotFoundError: A file that does not exist.
        ValueError: No safe or no fitting source, no wrapped backbone, no EMA to leave out,
            ``head_bits`` that are unknown or match nothing, or ``out`` with another suffix.
    """
    check_head_bits(head_bits)
    require_suffix(out)
    _, model, meta, held = _load(source, config, ema, trust)
    save_task(model, out, dataset_meta=meta, head_bits=head_bits)
    return held


def metric_change(
    source: str | os.PathLike,
    out: str | os.PathLike,
    config: str | os.PathLike | None = None,
    ema: bool = True,
    trust: bool = False,
) -> dict[str, tuple[float, float]]:
    """Metrics of ``source`` and of the task file ``out``, on the test data of the config.

    Both are measured by mmengine's test loop, ``source`` at 32 bits where it did not train at
    fewer. That runs the data pipelines, hooks and loggers that the config names, so the one in a
    checkpoint of a stranger does not do.

    Args:
        source: See :func:`export_task`, as the other arguments.
        out: What was exported of it.
        config: See :func:`export_task`.
        ema: See :func:`export_task`.
        trust: See :func:`export_task`.

    Returns:
        By metric: before and after.

    Raises:
        FileNotFoundError: A file or a data root that does not exist.
        ValueError: The config tests nothing, or the weights do not fit; there is no ``config``
            and no ``trust``.
    """
    require_own_config(config, trust)
    cfg, model, meta, _ = _load(source, config, ema, trust)
    with TemporaryDirectory() as folder:
        cfg.work_dir = folder
        # Not the one of this process, which trainings write their logs through.
        cfg.visualizer = dict(type='mmengine.Visualizer', name=Path(folder).name)
        whole = Path(folder, 'whole.task.safetensors')
        save_task(model, whole, dataset_meta=meta)
        del model
        before, after = (testing_runner(cfg, file).test() for file in (whole, out))
    return {name: (float(value), float(after[name])) for name, value in before.items()}


def require_own_config(config: str | os.PathLike | None, trust: bool) -> None:
    """Refuse to test with the config that a checkpoint carries.

    Raises:
        ValueError: There is no other one, and nobody vouches for the checkpoint.
    """
    if config is None and not trust:
        raise ValueError(
            'a test runs what its config names, and the one in a checkpoint may come from anybody: '
            'give the config of the training (--config), or say that you know who wrote the '
            'checkpoint (--trust-checkpoint).'
        )


def parse_head_bits(words: Sequence[str]) -> HeadBits:
    """Bits of head weights as a command line has them: ``8``, or ``decode_head.*=4 neck.*=8``.

    A number without a pattern is for all layers; what comes later counts.

    Raises:
        ValueError: Something else.
    """
    bits: dict[str, int] = {}
    for word in words:
        pattern, _, number = word.rpartition('=')
        if not number.isdecimal():
            raise ValueError(f'head_bits={word!r} is neither a number nor PATTERN=NUMBER.')
        bits.pop(pattern or '.*', None)  # at its first place an earlier one would overrule it
        bits[pattern or '.*'] = int(number)
    head_bits: HeadBits = bits['.*'] if [*bits] == ['.*'] else bits
    check_head_bits(head_bits)
    return head_bits


def _load(
    source: str | os.PathLike, config: str | os.PathLike | None, ema: bool, trust: bool
) -> tuple[Config, nn.Module, dict[str, Any] | None, str]:
    """Config, model with the weights, classes, and which weights these are."""
    if Path(source).suffix == SUFFIX:
        return _load_task(source, config, ema)
    content = read_checkpoint(source, trust)
    if not ema and EMA not in content:
        raise ValueError(f'{str(source)!r} holds no averaged weights; leave --no-ema out.')
    cfg = load_config(config) if config else stored_config(content)
    model = build_model(cfg)
    load_state(model, select_weights(content, ema), source)
    meta = dataset_meta(content.get('meta', {}).get('dataset_meta'))
    if EMA not in content:
        return cfg, model, meta, 'the trained weights'
    averages = 'the averaged (EMA) weights' if ema else 'the weights without averaging'
    return cfg, model, meta, averages


def _load_task(
    source: str | os.PathLike, config: str | os.PathLike | None, ema: bool
) -> tuple[Config, nn.Module, dict[str, Any] | None, str]:
    if config is None:
        raise ValueError(f'{str(source)!r} is a task file and carries no config; give --config.')
    if not ema:
        raise ValueError(f'{str(source)!r} holds one set of weights; leave --no-ema out.')
    cfg = load_config(config)
    model = build_model(cfg)
    return cfg, model, load_task(model, source)['dataset'], 'the weights of the task file'
