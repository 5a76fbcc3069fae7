"""Container of a task file: safetensors with metadata as one canonical JSON text and a digest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmqadapter.taskfile.fields import check_fields
from mmqadapter.taskfile.fingerprint import tensor_bytes
from mmqadapter.utils.atomic import atomic_write
from mmqadapter.utils.text import one_line

# The newest version that this package reads. A file has the oldest one that can hold its content.
VERSION = 3
# All metadata are under this one key: safetensors writes several keys in no fixed order.
KEY = 'mmqadapter'
SUFFIX = '.safetensors'  # by which tools recognize task files
CHECKPOINTS = ('.pth', '.pt', '.ckpt')
CHECKPOINT = 'make one of a training checkpoint with mmqadapter task export'
REMEDY = 'copy or download it again, or export it again from the training checkpoint'


@dataclass(frozen=True)
class TaskContent:
    """Content of a task file.

    Attributes:
        metadata: Plain values: what JSON can hold.
        tensors: Tensors by their name in the file.
    """

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


def require_suffix(path: str | os.PathLike) -> None:
    """Check that ``path`` has the suffix of task files; tools take others for checkpoints.

    Raises:
        ValueError: ``path`` does not end in ``.safetensors``.
    """
    if Path(path).suffix != SUFFIX:
        raise ValueError(
            f'{str(path)!r} would not be recognized as a task file; let it end in .task{SUFFIX}.'
        )


def is_task_file(path: Any) -> bool:
    """Return whether a local file is a task file, by its content."""
    if not isinstance(path, (str, Path)) or not Path(path).is_file():
        return False
    try:
        with safe_open(path, 'pt') as file:
            return KEY in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def write_content(path: str | os.PathLike, content: TaskContent) -> None:
    """Write a task file atomically; the same content gives the same bytes.

    Raises:
        OSError: The file cannot be written; an earlier file at ``path`` stays as it was.
    """
    metadata = {**content.metadata, 'sha256': _digest(content.metadata, content.tensors)}
    atomic_write(path, save(content.tensors, {KEY: _canonical(metadata)}))


def read_content(path: str | os.PathLike) -> TaskContent:
    """Read a task file and check its version, its structure and, by the digest, every bit.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is not a task file, has a newer version, or is truncated or changed.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no task file {str(path)!r}; check the path.')
    with open(path, 'rb'):  # safetensors reports a file without read permission as missing
        pass
    try:
        with safe_open(path, 'pt') as file:
            text = (file.metadata() or {}).get(KEY)
            metadata = _parse(path, text)
            # Copies: mapped memory changes, or vanishes, when the file is overwritten in place.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        remedy = CHECKPOINT if Path(path).suffix in CHECKPOINTS else REMEDY
        raise ValueError(
            f'{str(path)!r} is truncated or damaged ({one_line(error)}), or not a task file; '
            f'{remedy}.'
        ) from error
    expected = metadata.pop('sha256', None)
    if expected != _digest(metadata, tensors):
        raise ValueError(f'{str(path)!r} has changed since it was written (sha-256); {REMEDY}.')
    return TaskContent(metadata, tensors)


def read_task(path: str | os.PathLike) -> TaskContent:
    """Read a task file as :func:`read_content`, and check the fields that a task needs.

    Raises:
        FileNotFoundError: No such file.
        ValueError: As :func:`read_content`, or a field is missing or has another type.
    """
    content = read_content(path)
    try:
        check_fields(content.metadata)
    except ValueError as error:
        raise ValueError(f'{str(path)!r} is not a task file: {error}; {REMEDY}.') from error
    return content


def _parse(path: str | os.PathLike, text: str | None) -> dict[str, Any]:
    if text is None:
        raise ValueError(f'{str(path)!r} is not a task file: it has no {KEY!r} metadata.')
    try:
        metadata = json.loads(text)
        version = metadata['version']
        canonical = text == _canonical(metadata)
    # json raises ValueError for NaN and for numbers with too many digits.
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f'{str(path)!r} has damaged metadata ({short(repr(error))}); {REMEDY}.'
        ) from error
    if type(version) is not int or not 0 < version <= VERSION:
        raise ValueError(
            f'{str(path)!r} has format version {short(version)}, this package reads up to '
            f'{VERSION}; install a newer mmqadapter.'
        )
    if not canonical:
        raise ValueError(
            f'{str(path)!r} has metadata in another form than this package writes; {REMEDY}.'
        )
    return metadata


def _canonical(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True, separators=(',', ':'), allow_nan=False)


def _digest(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(_canonical(metadata).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f'\n{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()
