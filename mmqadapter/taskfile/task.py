"""Task files: everything that training changed, in one file (``*.task.safetensors``)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.accounting import tuned_backbone
from mmqadapter.taskfile.blobs import check_blobs, decode_adapters, encode_adapters
from mmqadapter.taskfile.format import VERSION, TaskContent, read_content, write_content

HEAD_DTYPES = {32: torch.float32, 16: torch.float16}
BLOB_PREFIX = 'adapters:'


def save_task(
    model: nn.Module,
    path: str | os.PathLike,
    dataset_meta: Mapping[str, Any] | None = None,
    head_bits: int = 32,
) -> None:
    """Write what training changed in ``model``: adapters, norms, neck and head.

    Args:
        model: A detector or segmentor with a wrapped backbone, or the wrapped backbone alone
            (then only the adapters are written).
        path: Where to; written atomically.
        dataset_meta: Classes and palette, kept for predictions.
        head_bits: Width of a parameter outside the adapters, in bits: 32 or 16.

    Raises:
        ValueError: No wrapped backbone, unknown ``head_bits``, or a value that 16 bits cannot hold.
    """
    if head_bits not in HEAD_DTYPES:
        raise ValueError(f'head_bits={head_bits!r} is not supported; use 32 or 16.')
    backbone = _find(model)
    blobs = encode_adapters(backbone.adapters)
    tensors = {f'{BLOB_PREFIX}{name}': blob for name, blob in blobs.items()}
    for name, tensor in changed_state(model).items():
        tensors[name] = _narrow(name, tensor, HEAD_DTYPES[head_bits])
    metadata = {
        'version': VERSION,
        'tuning': plain(backbone.tuning_config),
        'trunk': backbone.fingerprint,
        'head_bits': head_bits,
        'dataset': plain(dataset_meta),
    }
    write_content(path, TaskContent(metadata, tensors))


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
    content = read_content(path)
    backbone = _find(model)
    _check_origin(path, content.metadata, backbone)
    blobs, rest = _split(content.tensors)
    check_blobs(backbone.adapters, blobs)
    targets = changed_state(model)
    _check_names(path, rest, targets)
    decode_adapters(backbone.adapters, blobs, trainable)
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(rest[name])
    return content.metadata


def inspect_task(path: str | os.PathLike) -> dict[str, Any]:
    """Metadata and sizes of a task file, after checking every bit of it.

    Returns:
        The metadata, with ``tensors`` (name to dtype and shape) and ``bytes`` (of ``adapters``,
        of the ``head`` and all else, and of the whole ``file``).

    Raises:
        FileNotFoundError: No such file.
        ValueError: A damaged file, or one of a newer format version.
    """
    content = read_content(path)
    blobs, rest = _split(content.tensors)
    sizes = {
        'adapters': sum(t.nbytes for t in blobs.values()),
        'head': sum(t.nbytes for t in rest.values()),
        'file': Path(path).stat().st_size,
    }
    shapes = {n: [str(t.dtype), list(t.shape)] for n, t in sorted(content.tensors.items())}
    return {**content.metadata, 'tensors': shapes, 'bytes': sizes}


def changed_state(model: nn.Module) -> dict[str, Tensor]:
    """State of ``model`` that training changes, adapters aside, by name."""
    backbone = _find(model)
    left_out = {id(p) for p in backbone.adapters.parameters()}
    left_out |= {
        id(t) for t in backbone.trunk.state_dict(keep_vars=True).values() if not t.requires_grad
    }
    state = model.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if id(tensor) not in left_out}


def plain(value: Any) -> Any:
    """``value`` as JSON keeps it: tuples become lists, keys text."""
    return json.loads(json.dumps(value, default=list))


def _find(model: nn.Module) -> Any:
    backbone = tuned_backbone(model)
    if backbone is None:
        raise ValueError(
            f'{type(model).__name__} has no wrapped backbone, so all of it may have changed; keep '
            'the whole checkpoint, or wrap the backbone (type="mmqadapter.AdaptedBackbone").'
        )
    return backbone


def _narrow(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    # A copy, since safetensors refuses tensors that share memory, as tied heads do.
    tensor = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if not (tensor.is_floating_point() and dtype == torch.float16):
        return tensor
    narrow = tensor.to(dtype)
    if not bool(narrow.isfinite().all()):
        raise ValueError(f'{name} holds values that 16 bits cannot; save it with head_bits=32.')
    return narrow


def _split(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    blobs = {n.removeprefix(BLOB_PREFIX): t for n, t in tensors.items() if BLOB_PREFIX in n}
    return blobs, {n: t for n, t in tensors.items() if BLOB_PREFIX not in n}


def _check_origin(path: str | os.PathLike, metadata: dict[str, Any], backbone: Any) -> None:
    if metadata['tuning'] != (own := plain(backbone.tuning_config)):
        raise ValueError(
            f'{str(path)!r} was trained with the tuning config {metadata["tuning"]}, the model has '
            f'{own}; build the model with the former.'
        )
    if metadata['trunk'] != backbone.fingerprint:
        hint = '' if backbone.pretrained else ' (its weights are random: none were loaded)'
        raise ValueError(
            f'{str(path)!r} belongs to the trunk {metadata["trunk"][:16]}..., the model has '
            f'{backbone.fingerprint[:16]}...{hint}; load the weights that the task was trained on.'
        )


def _check_names(
    path: str | os.PathLike, given: dict[str, Tensor], wanted: dict[str, Tensor]
) -> None:
    for name in sorted(given.keys() ^ wanted.keys()):
        owner = 'the file' if name in given else 'the model'
        raise ValueError(
            f'only {owner} has {name!r}; build the model with the config of {str(path)!r}.'
        )
    for name, tensor in given.items():
        if tensor.shape != wanted[name].shape:
            raise ValueError(
                f'{name} has shape {tuple(tensor.shape)} in {str(path)!r} and '
                f'{tuple(wanted[name].shape)} in the model; is the number of classes the same?'
            )
