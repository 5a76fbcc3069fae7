"""Saving, loading and inspecting task files (``*.task.safetensors``).

A task file holds everything that training changed: adapters, norms and blocks that trained in the
trunk, neck and head.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmqadapter.quant import PackedWeight
from mmqadapter.taskfile.adapter_codec import (
    ADAPTER_PREFIX,
    check_adapter_tensors,
    decode_adapters,
    encode_adapters,
)
from mmqadapter.taskfile.contents import describe_tensors, split_content, storage_groups
from mmqadapter.taskfile.fields import check_fields
from mmqadapter.taskfile.format import (
    CHECKPOINTS,
    TaskContent,
    read_task,
    require_suffix,
    write_content,
)
from mmqadapter.taskfile.head import Entry, check_head, encode_head, load_head
from mmqadapter.taskfile.head_bits import HeadBits
from mmqadapter.taskfile.head_serialization import serialize_head
from mmqadapter.taskfile.task_state import TaskState


def save_task(
    model: nn.Module,
    path: str | os.PathLike,
    dataset_meta: Mapping[str, Any] | None = None,
    head_bits: HeadBits = 32,
) -> None:
    """Write what training changed in ``model``: adapters, norms, neck and head.

    Args:
        model: A detector or segmentor with a wrapped backbone, or the wrapped backbone alone
            (then the file has no neck and head).
        path: Path of the task file; tools expect ``.task.safetensors``. Written atomically.
        dataset_meta: Classes and palette, stored for predictions.
        head_bits: Bits of a parameter outside the adapters: 32 or 16 for floats; 8, 4, 2 or 1 to
            quantize linear and convolutional weights; or bits by regex. See
            :mod:`mmqadapter.taskfile.head_bits`.

    Raises:
        ValueError: ``path`` has the suffix of a checkpoint; ``model`` has no wrapped backbone;
            ``head_bits`` is invalid or a regex in it matches nothing; ``dataset_meta`` has classes
            that are not strings or a palette that is not a list of lists of integers; a parameter
            in the adapters, or one to store with 16 bits or fewer, holds NaN or inf; or an
            adapter's matrix to quantize is constant.
    """
    if Path(path).suffix in CHECKPOINTS:
        require_suffix(path)
    task = TaskState.of(model)
    adapters = encode_adapters(task.backbone.adapters)
    entries, width = encode_head(task, head_bits)
    version, head, layout = _serialize_entries(entries, task.tied_names())
    metadata = {
        'version': version,
        'tuning': plain(task.backbone.tuning_config),
        'trunk': task.backbone.fingerprint,
        'head_bits': width,
        'dataset': plain(dataset_meta),
        **layout,
    }
    check_fields(metadata)  # a file that cannot be loaded is not written
    tensors = {f'{ADAPTER_PREFIX}{name}': tensor for name, tensor in adapters.items()}
    write_content(path, TaskContent(metadata, tensors | head))


def load_task(model: nn.Module, path: str | os.PathLike, trainable: bool = False) -> dict[str, Any]:
    """Load a task file into ``model``; the model is changed only after all checks have passed.

    Args:
        model: A model built from the config that the task was trained with, with the same trunk
            loaded.
        path: A task file.
        trainable: False loads the exact weights, folded, for prediction; True loads latent weights
            to train on, so that another task can start from this one.

    Returns:
        The file's metadata, such as ``dataset`` with its classes.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, or belongs to another trunk, tuning config or head.
    """
    content = read_task(path)
    task = TaskState.of(model)
    _check_origin(path, content.metadata, task.backbone)
    adapters, entries = split_content(content)
    check_adapter_tensors(task.backbone.adapters, adapters)
    check_head(task, entries, repr(str(path)))
    decode_adapters(task.backbone.adapters, adapters, trainable)
    load_head(task, entries, trainable)
    return content.metadata


def inspect_task(path: str | os.PathLike) -> dict[str, Any]:
    """Return metadata and sizes of a task file, after checking every bit of it.

    Returns:
        The metadata, with ``tensors`` (type and shape by name), ``bytes`` (of ``adapters``, of the
        ``head`` and all else, and of the whole ``file``) and ``groups`` (see
        :class:`mmqadapter.taskfile.contents.Group`).

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, or has a newer format version.
    """
    content = read_task(path)
    metadata = {name: value for name, value in content.metadata.items() if name != 'head'}
    return {
        **metadata,
        'tensors': describe_tensors(content),
        'bytes': {**_part_sizes(content), 'file': Path(path).stat().st_size},
        'groups': storage_groups(content),
    }


def plain(value: Any) -> Any:
    """Return ``value`` as JSON holds it: tuples and arrays become lists, keys become strings."""
    return json.loads(json.dumps(value, default=_to_list))


def _to_list(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic, Tensor)) else list(value)


def _part_sizes(content: TaskContent) -> dict[str, int]:
    """Return the bytes of the adapters' tensors and of all others."""
    sizes = {name: tensor.nbytes for name, tensor in content.tensors.items()}
    adapters = sum(size for name, size in sizes.items() if name.startswith(ADAPTER_PREFIX))
    return {'adapters': adapters, 'head': sum(sizes.values()) - adapters}


def _serialize_entries(
    entries: dict[str, Entry], tied: dict[str, str]
) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Return format version, tensors and extra metadata; a tied entry is stored once."""
    unique = {name: entry for name, entry in entries.items() if name not in tied}
    version, layout = 1, {}
    tensors: dict[str, Any] = dict(unique)
    if any(isinstance(entry, PackedWeight) for entry in unique.values()):
        version = 2
        tensors, layout['head'] = serialize_head(unique)
    if tied:
        version, layout['tied'] = 3, tied
    return version, tensors, layout


def _check_origin(path: str | os.PathLike, metadata: dict[str, Any], backbone: Any) -> None:
    """Check that the file was trained with the tuning config and the trunk of ``backbone``."""
    if metadata['tuning'] != (config := plain(backbone.tuning_config)):
        raise ValueError(
            f'{str(path)!r} was trained with the tuning config {str(metadata["tuning"])[:1000]}, '
            f'the model has {config}; build the model with the former.'
        )
    if metadata['trunk'] != backbone.fingerprint:
        hint = '' if backbone.pretrained else ' (its weights are random: none were loaded)'
        raise ValueError(
            f'{str(path)!r} belongs to the trunk {metadata["trunk"][:16]}..., the model has '
            f'{backbone.fingerprint[:16]}...{hint}; load the weights that the task was trained on.'
        )
