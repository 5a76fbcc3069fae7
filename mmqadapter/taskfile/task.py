"""Task files: everything that training changed, in one file (``*.task.safetensors``)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmqadapter.quant import PackedWeight
from mmqadapter.taskfile.adapter_codec import (
    check_adapter_tensors,
    decode_adapters,
    encode_adapters,
)
from mmqadapter.taskfile.contents import BLOB_PREFIX, described, groups, split
from mmqadapter.taskfile.fields import check_fields
from mmqadapter.taskfile.format import TaskContent, read_task, write_content
from mmqadapter.taskfile.head import Entry, check_head, head_entries, put_head
from mmqadapter.taskfile.head_bits import HeadBits
from mmqadapter.taskfile.head_serialization import serialize_head
from mmqadapter.taskfile.task_state import TaskState

# Widths of neck and head without a quantiser.
HEAD_DTYPES = {32: torch.float32, 16: torch.float16}


def save_task(
    model: nn.Module,
    path: str | os.PathLike,
    dataset_meta: Mapping[str, Any] | None = None,
    head_bits: HeadBits = 32,
) -> None:
    """Write what training changed in ``model``: adapters, norms, neck and head.

    Args:
        model: A detector or segmentor with a wrapped backbone, or the wrapped backbone alone
            (then only the adapters are written).
        path: Where to; written atomically.
        dataset_meta: Classes and palette, kept for predictions.
        head_bits: Width of a parameter outside the adapters, in bits: 32 or 16; or 8, 4, 2 or 1
            for linear and convolutional weights, one number or numbers by regex (see
            :func:`mmqadapter.taskfile.head_bits.layer_bits`), and then 16 for all others. A weight
            that has codes already keeps them unless this asks for fewer bits.

    Raises:
        ValueError: No wrapped backbone, unknown ``head_bits``, a pattern that matches nothing,
            classes that are no names or a palette that is no list of whole numbers, a parameter
            with NaN or inf in the adapters or at 16 bits or less, or a matrix to quantise that is
            constant.
    """
    task = TaskState.of(model)
    blobs = encode_adapters(task.backbone.adapters)
    entries, width = head_entries(task, head_bits)
    version, head, layout = _laid_out(entries)
    metadata = {
        'version': version,
        'tuning': plain(task.backbone.tuning_config),
        'trunk': task.backbone.fingerprint,
        'head_bits': width,
        'dataset': plain(dataset_meta),
        **layout,
    }
    check_fields(metadata)  # before anything is written that nobody could read
    tensors = {f'{BLOB_PREFIX}{name}': blob for name, blob in blobs.items()}
    write_content(path, TaskContent(metadata, tensors | head))


def load_task(model: nn.Module, path: str | os.PathLike, trainable: bool = False) -> dict[str, Any]:
    """Put a task into ``model``; the model is touched only when all checks have passed.

    Args:
        model: Built from the config that the task came from, with the same trunk loaded.
        path: A task file.
        trainable: False loads the exact weights, folded, for prediction; True gives latent
            weights that go on training (another task may start from this one).

    Returns:
        The file's metadata, such as ``dataset`` with its classes.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A damaged file, another trunk, another tuning config, or another head.
    """
    content = read_task(path)
    task = TaskState.of(model)
    _check_origin(path, content.metadata, task.backbone)
    blobs, entries = split(content)
    check_adapter_tensors(task.backbone.adapters, blobs)
    check_head(task, entries, repr(str(path)))
    decode_adapters(task.backbone.adapters, blobs, trainable)
    put_head(task, entries, trainable)
    return content.metadata


def inspect_task(path: str | os.PathLike) -> dict[str, Any]:
    """Metadata and sizes of a task file, after checking every bit of it.

    Returns:
        The metadata, with ``tensors`` (name to type and shape), ``bytes`` (of ``adapters``, of the
        ``head`` and all else, and of the whole ``file``) and ``groups`` (see
        :class:`mmqadapter.taskfile.contents.Group`).

    Raises:
        FileNotFoundError: No such file.
        ValueError: A damaged file, or one of a newer format version.
    """
    content = read_task(path)
    metadata = {name: value for name, value in content.metadata.items() if name != 'head'}
    sizes = {name: t.nbytes for name, t in content.tensors.items()}
    adapters = sum(size for name, size in sizes.items() if name.startswith(BLOB_PREFIX))
    told = {
        'adapters': adapters,
        'head': sum(sizes.values()) - adapters,
        'file': Path(path).stat().st_size,
    }
    return {**metadata, 'tensors': described(content), 'bytes': told, 'groups': groups(content)}


def plain(value: Any) -> Any:
    """``value`` as JSON keeps it: tuples and arrays become lists, keys text."""
    return json.loads(json.dumps(value, default=_listed))


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic, Tensor)) else list(value)


def _laid_out(entries: dict[str, Entry]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Version, tensors and extra metadata; version 1 knows no quantised neck or head."""
    if any(isinstance(entry, PackedWeight) for entry in entries.values()):
        tensors, tree = serialize_head(entries)
        return 2, tensors, {'head': tree}
    return 1, dict(entries), {}


def _check_origin(path: str | os.PathLike, metadata: dict[str, Any], backbone: Any) -> None:
    if metadata['tuning'] != (own := plain(backbone.tuning_config)):
        raise ValueError(
            f'{str(path)!r} was trained with the tuning config {str(metadata["tuning"])[:1000]}, '
            f'the model has {own}; build the model with the former.'
        )
    if metadata['trunk'] != backbone.fingerprint:
        hint = '' if backbone.pretrained else ' (its weights are random: none were loaded)'
        raise ValueError(
            f'{str(path)!r} belongs to the trunk {metadata["trunk"][:16]}..., the model has '
            f'{backbone.fingerprint[:16]}...{hint}; load the weights that the task was trained on.'
        )
