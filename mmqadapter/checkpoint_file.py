"""Reading a ``.pth`` without running code of it; the same for all that mmengine reads."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from numpy.core.multiarray import _reconstruct, scalar

from mmqadapter.error_text import one_line

TRUST = 'MMQADAPTER_TRUST_CHECKPOINTS'
FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'  # torch reads it at each call, before any argument


def read_pickle(path: str | os.PathLike, trust: bool = False) -> Any:
    """Content of a ``torch.save`` file, on the CPU.

    Only tensors, plain values and what mmengine logs are read, unless ``trust`` is set.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It is damaged, or holds other objects, which may run code.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no checkpoint {str(path)!r}; check the path.')
    try:
        with torch.serialization.safe_globals(_harmless()):
            return torch.load(path, map_location='cpu', weights_only=not trust)
    except UnpicklingError as error:
        raise _unsafe(path, error, '--trust-checkpoint (trust=True)') from error
    except OSError:
        raise
    except Exception as error:  # a damaged file raises whatever its reader stumbles over
        told = f'{str(path)!r} is no checkpoint, or damaged: {type(error).__name__} '
        raise ValueError(told + one_line(error)) from error


def guard_mmengine() -> None:
    """Let mmengine read checkpoints as safely, whether resumed, loaded or pretrained.

    It would read a file that is not safe all the same, with a warning. Who trusts all files of a
    run sets the environment variable MMQADAPTER_TRUST_CHECKPOINTS to 1.
    """
    load = CheckpointLoader.load_checkpoint.__func__
    if hasattr(load, '__wrapped__'):
        return

    @functools.wraps(load)
    def guarded(cls: type, filename: str, *args: Any, **kwargs: Any) -> Any:
        if os.environ.get(TRUST) == '1':
            return load(cls, filename, *args, **kwargs)
        try:
            with _weights_only(), torch.serialization.safe_globals(_harmless()):
                return load(cls, filename, *args, **kwargs)
        except UnpicklingError as error:
            raise _unsafe(filename, error, f'{TRUST}=1') from error

    CheckpointLoader.load_checkpoint = classmethod(guarded)


@contextmanager
def _weights_only() -> Iterator[None]:
    before = os.environ.get(FORCE)
    os.environ[FORCE] = '1'
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before


def _unsafe(path: str | os.PathLike, error: UnpicklingError, switch: str) -> ValueError:
    return ValueError(
        f'{str(path)!r} is damaged or holds objects that may run code when they are read '
        f'({_reason(error)}). If you know who wrote it: {switch}.'
    )


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
    shown = (telling or lines or ['no pickle'])[0].split(' by default')[0]
    return one_line(ValueError(shown))
