"""Names of timm nets that are supported, told by timm's registry before a net is built."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import timm

from mmqadapter.backbones.families import FAMILIES

PREFIX = 'timm.models.'
# Qualified names of timm's classes that the table has a row for.
CLASSES = {name for family in FAMILIES for name in family.classes if name.startswith(PREFIX)}
MODULES = {name.rpartition('.')[0]: name.rpartition('.')[2] for name in CLASSES}


def is_supported(cls: type) -> bool:
    """Return whether the table has a row for a class."""
    return not CLASSES.isdisjoint(f'{c.__module__}.{c.__qualname__}' for c in cls.__mro__)


def check_name(model_name: str) -> type | None:
    """Check that a name stands for a supported net; return its class, None where timm tells none.

    Raises:
        ValueError: A name that timm does not know, or of a net without a row.
    """
    if not isinstance(model_name, str):
        raise ValueError(
            f'model_name={model_name!r} is invalid: expected the name of a timm model, such as '
            "'vit_tiny_patch16_224'."
        )
    if ':' in model_name:  # on a hub: its class is known once it is built
        return None
    if not timm.is_model(model_name):
        raise ValueError(
            f'model_name={model_name!r} is invalid: timm does not know it; similar names: '
            f'{_similar(model_name)}.'
        )
    entry = timm.model_entrypoint(model_name)
    if not _may_build(entry):
        raise unsupported(model_name, getattr(_class(entry), '__name__', entry.__module__))
    return _class(entry)


def unsupported(model_name: str, kind: str) -> ValueError:
    """Return the error for a net without a row, with similar names that have one."""
    return ValueError(
        f'model_name={model_name!r} is invalid: timm builds {kind}, which is not supported; '
        f'similar names that are: {_similar(model_name)}. The docs page "Adding a backbone" shows '
        'how to add one.'
    )


def _may_build(entry: Callable[..., Any]) -> bool:
    """Return whether a function of timm's registry builds a supported net, as far as it says."""
    cls = _class(entry)
    return is_supported(cls) if cls else not entry.__module__.startswith(PREFIX)


def _class(entry: Callable[..., Any]) -> type | None:
    """Return the class that a function of timm's registry says it builds, or its module's own."""
    try:
        cls = inspect.signature(entry, eval_str=True).return_annotation
    except NameError:  # an annotation that is for type checkers alone
        return None
    if cls is inspect.Signature.empty and entry.__module__ in MODULES:
        cls = getattr(sys.modules[entry.__module__], MODULES[entry.__module__])
    return cls if isinstance(cls, type) and cls is not inspect.Signature.empty else None


def _similar(model_name: str) -> str:
    """Return names of supported models, those that contain ``model_name`` if there are any."""
    name = model_name.split('.')[0]
    known = [n for n in timm.list_models() if _may_build(timm.model_entrypoint(n))]
    longer = [n for n in known if name in n]
    return ', '.join(get_close_matches(name, longer or known, n=3, cutoff=0))
