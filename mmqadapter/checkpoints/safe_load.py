"""Reading a ``.pth`` without running code of it; the same for all that mmengine reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmqadapter.utils.text import one_line

# Where numpy 2, or numpy 1, keeps what arrays are unpickled with.
MULTIARRAYS = ('numpy._core.multiarray', 'numpy.core.multiarray')
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
        with torch.serialization.safe_globals(harmless()):
            return torch.load(path, map_location='cpu', weights_only=not trust)
    except UnpicklingError as error:
        raise unsafe(path, error, '--trust-checkpoint (trust=True)') from error
    except OSError:
        raise
    except Exception as error:  # a damaged file raises whatever its reader stumbles over
        told = f'{str(path)!r} is no checkpoint, or damaged: {type(error).__name__} '
        raise ValueError(told + one_line(error)) from error


@contextmanager
def weights_only() -> Iterator[None]:
    """Let every ``torch.load`` in this context refuse what is neither tensor nor plain value."""
    before = os.environ.get(FORCE)
    os.environ[FORCE] = '1'
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before


def unsafe(path: str | os.PathLike, error: UnpicklingError, switch: str) -> ValueError:
    """Return the error for a file that may run code; ``switch`` allows it all the same."""
    return ValueError(
        f'{str(path)!r} is damaged or holds objects that may run code when they are read '
        f'({_reason(error)}). If you know who wrote it: {switch}.'
    )


def harmless() -> list[Any]:
    """What mmengine's message hub is made of, besides tensors and plain values."""
    multiarray = import_module(MULTIARRAYS[np.__version__.startswith('1.')])
    dtypes = [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    builders = [
        (builder, f'numpy.{core}.multiarray.{builder.__name__}')
        for builder in (multiarray._reconstruct, multiarray.scalar)
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
