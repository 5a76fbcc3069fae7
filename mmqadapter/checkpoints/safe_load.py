"""Reading ``.pth`` files without running code in them; also used for what mmengine reads."""

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

from mmqadapter.compat.safe_globals import safe_globals
from mmqadapter.utils.text import one_line

# The module of the functions that unpickle arrays, in numpy 2 and in numpy 1.
MULTIARRAYS = ('numpy._core.multiarray', 'numpy.core.multiarray')
# torch.load reads it at each call; it overrules the argument `weights_only`.
FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'


def read_pickle(path: str | os.PathLike, trust: bool = False) -> Any:
    """Return the content of a ``torch.save`` file, with its tensors on the CPU.

    Unless ``trust`` is set, only tensors, plain values and mmengine's log buffers are accepted.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, or holds other objects, which may run code.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no checkpoint {str(path)!r}; check the path.')
    try:
        with safe_globals(allowed_globals()):
            return torch.load(path, map_location='cpu', weights_only=not trust)
    except UnpicklingError as error:
        raise unsafe_file_error(path, error, '--trust-checkpoint (trust=True)') from error
    except OSError:
        raise
    except Exception as error:  # a damaged file may raise any type of error
        message = f'{str(path)!r} is damaged or not a checkpoint: {type(error).__name__} '
        raise ValueError(message + one_line(error)) from error


@contextmanager
def weights_only() -> Iterator[None]:
    """Make every ``torch.load`` in this context refuse objects other than tensors and plain values.

    Objects that :func:`mmqadapter.compat.safe_globals` allows pass as well.
    """
    before = os.environ.get(FORCE)
    os.environ[FORCE] = '1'
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before


def unsafe_file_error(path: str | os.PathLike, error: UnpicklingError, switch: str) -> ValueError:
    """Return the error for a file that may run code.

    Args:
        path: The file.
        error: torch's error, which names the object.
        switch: The option with which the user allows it all the same.
    """
    return ValueError(
        f'{str(path)!r} is damaged or holds objects that may run code when they are read '
        f'({_reason(error)}). If you know who wrote it: {switch}.'
    )


def allowed_globals() -> list[Any]:
    """Return the types and functions that unpickling mmengine's message hub needs.

    It holds log buffers and numpy values; the list is for ``safe_globals``.
    """
    multiarray = import_module(MULTIARRAYS[np.__version__.startswith('1.')])
    dtypes = [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    builders = [
        (builder, f'numpy.{core}.multiarray.{builder.__name__}')
        for builder in (multiarray._reconstruct, multiarray.scalar)
        for core in ('core', '_core')  # the file may come from numpy 1 or numpy 2
    ]
    getter = (_buffer_method, 'builtins.getattr')
    return [HistoryBuffer, getter, np.ndarray, np.dtype, *builders, *dtypes]


def _buffer_method(owner: Any, name: str) -> Any:
    """Replace ``getattr`` for a pickle, which could reach any object with the real one."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _reason(error: UnpicklingError) -> str:
    """Return the line of torch's long error text that names the refused object."""
    lines = [line.strip() for line in str(error).splitlines()]
    naming = [line for line in lines if 'GLOBAL' in line or 'but got' in line]
    reason = (naming or lines or ['not a pickle'])[0].split(' by default')[0]
    return one_line(ValueError(reason))
