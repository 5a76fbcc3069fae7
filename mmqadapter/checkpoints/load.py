"""Loading weights into a model from a task file or a checkpoint, without running its code."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any

from mmengine.logging import print_log
from torch import nn

from mmqadapter.checkpoints.content import check_complete, check_fits, check_tuning
from mmqadapter.checkpoints.safe_load import read_pickle
from mmqadapter.taskfile import load_task
from mmqadapter.taskfile.format import SUFFIX, is_task_file
from mmqadapter.taskfile.head_bits import KEY, train_quantized

EMA = 'ema_state_dict'


def load_weights(
    model: nn.Module, path: str | os.PathLike, trust: bool = False, complete: bool = False
) -> dict[str, list]:
    """Load a task file (by suffix or content) or a checkpoint into ``model``.

    Args:
        model: A detector or segmentor. For a task file it needs a wrapped backbone, with the trunk
            of that task loaded.
        path: The task file or checkpoint.
        trust: Read a checkpoint even if that may run code in it.
        complete: See :func:`load_state`.

    Returns:
        ``classes`` and ``palette``, each only if the file has it.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, not safe to read, or does not fit the model.
    """
    if Path(path).suffix == SUFFIX or is_task_file(path):
        return dataset_meta(load_task(model, path)['dataset'])
    checkpoint = read_checkpoint(path, trust)
    load_state(model, checkpoint, path, complete)
    return dataset_meta(checkpoint.get('meta', {}).get('dataset_meta'))


def read_checkpoint(path: str | os.PathLike, trust: bool = False) -> dict[str, Any]:
    """Return a checkpoint with its tensors on the CPU; weights alone become its ``state_dict``.

    Unless ``trust`` is set, only tensors, plain values and mmengine's log buffers are accepted.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, is not a checkpoint, or holds other objects, which may
            run code.
    """
    checkpoint = read_pickle(path, trust)
    if isinstance(checkpoint, dict) and 'state_dict' not in checkpoint:
        checkpoint = {'state_dict': checkpoint}
    _check_mapping(checkpoint, 'its content', path)
    for name in ('state_dict', 'meta', EMA):
        _check_mapping(checkpoint.get(name, {}), name, path)
    return checkpoint


def _check_mapping(value: Any, part: str, path: str | os.PathLike) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(
            f'{str(path)!r} is not a checkpoint: {part} is a {type(value).__name__} that begins '
            f'with {short(value)}; expected a dict with str keys.'
        )


def load_state(
    model: nn.Module,
    checkpoint: dict[str, Any],
    source: str | os.PathLike,
    complete: bool = False,
) -> None:
    """Load ``checkpoint['state_dict']`` into ``model``; warn of missing trainable parameters.

    Afterwards neck and head compute with the bits that the checkpoint was trained with, or in
    float if it was trained in float.

    Args:
        model: The model to load into.
        checkpoint: See :func:`read_checkpoint`.
        source: Path of the checkpoint, for messages.
        complete: Refuse a checkpoint that lacks any trainable parameter.

    Raises:
        ValueError: The checkpoint has another trunk, another tuning config or other shapes, or
            lacks trainable parameters.
    """
    state = {name.removeprefix('module.'): t for name, t in checkpoint['state_dict'].items()}
    check_fits(model, {**checkpoint, 'state_dict': state})
    check_tuning(model, checkpoint)
    train_quantized(model, checkpoint.get(KEY) or {})
    if complete:
        check_complete(model, state)
    try:
        missing = set(model.load_state_dict(state, strict=False).missing_keys)
    except RuntimeError as error:
        reason = ' '.join(str(error).split())
        raise ValueError(f'{str(source)!r} does not fit: {reason}') from error
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    if trained and trained <= missing:
        raise ValueError(
            f'{str(source)!r} has none of the trainable parameters of this model: use the config '
            'that it was trained with.'
        )
    if absent := sorted(trained & missing):
        print_log(
            f'{source} lacks {len(absent)} trainable parameters, such as {absent[0]}; they keep '
            'their initial values.',
            logger='current',
            level=logging.WARNING,
        )


def select_weights(checkpoint: Mapping[str, Any], ema: bool) -> dict[str, Any]:
    """Return the checkpoint with one of its two sets of weights as ``state_dict``.

    mmengine's EMA hook saves the averaged weights as ``state_dict``, and the weights that the
    optimizer updates as ``ema_state_dict``. A checkpoint without the latter has one set, which
    is returned for either value of ``ema``.

    Args:
        checkpoint: See :func:`read_checkpoint`; not changed.
        ema: True selects the averaged weights, False those that the optimizer updates.
    """
    if ema or EMA not in checkpoint:
        return dict(checkpoint)
    # The averaging itself has state there too: the number of its steps.
    updated = {name: t for name, t in checkpoint[EMA].items() if name.startswith('module.')}
    return {**checkpoint, 'state_dict': updated}


def dataset_meta(meta: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> dict[str, list]:
    """Return ``classes`` and ``palette`` of a dataset's metainfo as plain lists, if it has them.

    Args:
        meta: Metainfo; mmdet's ``ConcatDataset`` gives a list where its datasets differ in it. Of
            a list the common classes count, with the first palette.

    Raises:
        ValueError: The datasets of a list have different classes.
    """
    if isinstance(meta, (list, tuple)):
        return _common_meta([dataset_meta(one) for one in meta])
    meta = meta if isinstance(meta, Mapping) else {}
    plain: dict[str, list] = {}
    if isinstance(meta.get('classes'), (list, tuple)):
        plain['classes'] = [str(name) for name in meta['classes']]
    if isinstance(meta.get('palette'), (list, tuple)):
        plain['palette'] = [[int(value) for value in color] for color in meta['palette']]
    return plain


def _common_meta(metas: Sequence[dict[str, list]]) -> dict[str, list]:
    first = metas[0] if metas else {}
    for meta in metas:
        if meta.get('classes') != first.get('classes'):
            raise ValueError(
                f'the joined datasets have different classes, {first.get("classes")} and '
                f'{meta.get("classes")}: give all the same metainfo.classes, in the same order.'
            )
    palette = next((meta['palette'] for meta in metas if 'palette' in meta), None)
    return first if palette is None else {**first, 'palette': palette}
