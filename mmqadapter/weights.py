"""Weights for a model, from a task file or a checkpoint; reading runs no code of the file."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from numpy.core.multiarray import _reconstruct, scalar
from torch import nn

from mmqadapter.hooks.checkpoint_content import check_fits
from mmqadapter.taskfile import load_task
from mmqadapter.taskfile.head_bits import KEY, train_quantized

EMA = 'ema_state_dict'


def load_weights(model: nn.Module, path: str | os.PathLike, trust: bool = False) -> dict[str, list]:
    """Put a task file (``*.safetensors``) or a checkpoint (anything else) into ``model``.

    Args:
        model: A detector or segmentor. A task file needs a wrapped backbone with its own trunk.
        path: Where the weights are.
        trust: Read a checkpoint even if that may run code of it.

    Returns:
        ``classes`` and ``palette``, as far as the file names them.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, not safe to read, or does not fit the model.
    """
    if Path(path).suffix == '.safetensors':
        return dataset_meta(load_task(model, path)['dataset'])
    checkpoint = read_checkpoint(path, trust)
    load_state(model, checkpoint, path)
    return dataset_meta(checkpoint.get('meta', {}).get('dataset_meta'))


def read_checkpoint(path: str | os.PathLike, trust: bool = False) -> dict[str, Any]:
    """A checkpoint on the CPU, with ``state_dict``.

    Only tensors, plain values and what mmengine logs are read, unless ``trust`` is set.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It is damaged, holds no weights, or other objects, which may run code.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no checkpoint {str(path)!r}; check the path.')
    try:
        with torch.serialization.safe_globals(_harmless()):
            checkpoint = torch.load(path, map_location='cpu', weights_only=not trust)
    except UnpicklingError as error:
        raise ValueError(
            f'{str(path)!r} is damaged or holds objects that may run code when they are read '
            f'({_reason(error)}). If you know who wrote it: --trust-checkpoint (trust=True).'
        ) from error
    except OSError:
        raise
    except Exception as error:  # a damaged file raises whatever its reader stumbles over
        raise ValueError(f'{str(path)!r} is no checkpoint, or damaged: {error!r}') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{str(path)!r} holds a {type(checkpoint).__name__}, not weights by name.')
    return checkpoint if 'state_dict' in checkpoint else {'state_dict': checkpoint}


def load_state(model: nn.Module, checkpoint: dict[str, Any], source: str | os.PathLike) -> None:
    """Put ``checkpoint['state_dict']`` into ``model``; what trains and is missing is logged.

    The model computes with few bits where the checkpoint was trained so, and nowhere else.

    Raises:
        ValueError: Another trunk, another shape, or nothing of what trains is in the checkpoint.
    """
    state = {name.removeprefix('module.'): t for name, t in checkpoint['state_dict'].items()}
    check_fits(model, {**checkpoint, 'state_dict': state})
    train_quantized(model, checkpoint.get(KEY) or {})
    try:
        missing = set(model.load_state_dict(state, strict=False).missing_keys)
    except RuntimeError as error:
        reason = ' '.join(str(error).split())
        raise ValueError(f'{str(source)!r} does not fit: {reason}') from error
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    if trained and trained <= missing:
        raise ValueError(f'{str(source)!r} has nothing of what trains in this model: check CONFIG.')
    if lost := sorted(trained & missing):
        print_log(
            f'{source} lacks {len(lost)} trainable parameters, such as {lost[0]}; they stay as '
            'they were initialised.',
            logger='current',
            level=logging.WARNING,
        )


def averaged(checkpoint: Mapping[str, Any], ema: bool) -> dict[str, Any]:
    """The checkpoint with the averaged weights, or without averaging, as its ``state_dict``.

    mmengine's EMA hook saves the average as ``state_dict`` and the weights that the optimiser
    steps on as ``ema_state_dict``. Without an EMA hook there is one set of weights.
    """
    if ema or EMA not in checkpoint:
        return dict(checkpoint)
    stepped = {k: v for k, v in checkpoint[EMA].items() if k.startswith('module.')}
    return {**checkpoint, 'state_dict': stepped}


def dataset_meta(meta: Mapping[str, Any] | None) -> dict[str, list]:
    """``classes`` and ``palette`` of a data set's meta information, as plain lists."""
    meta = meta or {}
    plain: dict[str, list] = {}
    if isinstance(meta.get('classes'), (list, tuple)):
        plain['classes'] = [str(name) for name in meta['classes']]
    if isinstance(meta.get('palette'), (list, tuple)):
        plain['palette'] = [[int(value) for value in colour] for colour in meta['palette']]
    return plain


def _harmless() -> list[Any]:
    """What mmengine's message hub is made of, besides tensors and plain values."""
    dtypes = [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    builders = [
        (builder, f'numpy.{core}.multiarray.{builder.__name__}')
        for builder in (_reconstruct, scalar)
        for core in ('core', '_core')  # of numpy 1 and of numpy 2, whichever wrote the file
    ]
    getter = (_buffer_method, 'builtins.getattr')
    return [HistoryBuffer, getter, np.ndarray, np.dtype, *builders, *dtypes]


def _buffer_method(owner: Any, name: str) -> Any:
    """Stands for ``getattr``, with which a pickle could reach anything."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _reason(error: UnpicklingError) -> str:
    """The line of torch's long text that names the object."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if 'GLOBAL' in line or 'but got' in line]
    return (telling or lines or ['no pickle'])[0].split(' by default')[0]
