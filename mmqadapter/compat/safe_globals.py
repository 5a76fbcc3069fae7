"""``torch.serialization.safe_globals`` for PyTorch before 2.6, which cannot allow more objects.

PyTorch 2.4 and 2.5 can, but not under another name than their own (numpy 1 and 2 differ in them).
"""

from __future__ import annotations

import _compat_pickle
import codecs
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import torch

from mmqadapter.compat.torch_names import TORCH


def safe_globals(allowed: Sequence[Any]) -> AbstractContextManager[Any]:
    """Let ``torch.load(weights_only=True)`` accept more types and functions in this context.

    Args:
        allowed: Types and functions, or pairs of one and the name that it has in the file.
    """
    if TORCH >= (2, 6):
        return torch.serialization.safe_globals(list(allowed))
    return _replaced_unpickler(allowed)


@contextmanager
def _replaced_unpickler(allowed: Sequence[Any]) -> Iterator[None]:
    """Let PyTorch use our unpickler where it would use the one that allows tensors alone."""
    names = dict(_named(entry) for entry in allowed)
    kind = type('Unpickler', (LimitedUnpickler,), {'extra': names})
    serialization: Any = torch.serialization
    stock = serialization._weights_only_unpickler
    serialization._weights_only_unpickler = SimpleNamespace(
        Unpickler=kind, load=lambda file, **options: kind(file, **options).load()
    )
    try:
        yield
    finally:
        serialization._weights_only_unpickler = stock


def _named(entry: Any) -> tuple[str, Any]:
    value, name = entry if isinstance(entry, tuple) else (entry, None)
    return name or f'{value.__module__}.{value.__qualname__}', value


def _present_name(module: str, name: str) -> tuple[str, str]:
    """Python 3's name of what a pickle of protocol 2, as torch.save writes, calls as Python 2."""
    renamed = _compat_pickle.IMPORT_MAPPING.get(module, module), name
    return _compat_pickle.NAME_MAPPING.get((module, name), renamed)


PythonUnpickler: Any = pickle._Unpickler  # the one in C cannot refuse states
# `bytes` in a pickle of torch.save are text that `encode` turns back; PyTorch allows it since 2.4.
ENCODE = {'_codecs.encode': codecs.encode}


class LimitedUnpickler(PythonUnpickler):
    """Unpickler of tensors, plain values and the objects in ``extra``.

    Nothing else can be found by name, so nothing else can be called. Attributes are set on
    instances alone: a file must not change a class or a function.
    """

    extra: dict[str, Any] = {}
    dispatch = dict(PythonUnpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Return what the file names, if it is allowed."""
        full_name = '.'.join(_present_name(module, name))
        allowed = {**torch._weights_only_unpickler._get_allowed_globals(), **ENCODE, **self.extra}
        if full_name not in allowed:
            raise pickle.UnpicklingError(f'GLOBAL {full_name} is not allowed')
        return allowed[full_name]

    def get_extension(self, code: int) -> None:
        """Refuse a global that the file names by its number in Python's registry."""
        raise pickle.UnpicklingError(f'GLOBAL with the extension code {code} is not allowed')

    def load_build(self) -> None:
        """Set the state of an instance, after a check of its type."""
        kind = type(self.stack[-2])
        if kind not in (torch.Tensor, torch.nn.Parameter, OrderedDict, *self.extra.values()):
            raise pickle.UnpicklingError(f'can set the state of no {kind.__name__}')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build
